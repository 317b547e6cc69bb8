//go:build linux

package guest

import (
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
	"keyway/internal/session"
)

const (
	// stepPoll is the interval at which the end checks for its next step.
	stepPoll = 50 * time.Millisecond
	// holderGrace is the time that holders need besides their jobs' grace: for the last
	// call, to kill, and to write the record to disk.
	holderGrace = proctree.LastCall + 3*time.Second
	// viewerGrace is the time that waiting clients have to learn of a job's end.
	viewerGrace = 2 * time.Second
	// flushGrace is the time that the server has to send their last output.
	flushGrace = 300 * time.Millisecond
)

// stopping is the end of a workspace, in this order: first the programs and the sessions,
// whose holders end their jobs; then the clients that wait for sessions; then the server.
type stopping struct {
	turns   *proctree.Ending
	kill    time.Time    // when everything is killed
	holders map[int]bool // those that have been told to end
	leave   time.Time    // when clients that wait for sessions must be gone; zero: not yet their turn
	served  bool         // the server and the rest have been told to end
}

func newStopping(grace time.Duration, now time.Time) *stopping {
	s := &stopping{turns: proctree.NewEnding(now.Add(grace)), kill: now.Add(grace + holderGrace), holders: map[int]bool{}}
	if grace == 0 {
		s.turns.Hurry(now)
	}
	return s
}

// again shortens the time, and tells the holders.
func (s *stopping) again(grace time.Duration, now time.Time) {
	if kill := now.Add(grace + holderGrace); kill.Before(s.kill) {
		s.kill = kill
		s.turns.By(now.Add(grace))
		clear(s.holders)
	}
	if grace == 0 {
		s.turns.Hurry(now)
	}
}

// crowd are the processes of a workspace, sorted.
type crowd struct{ holders, programs, top, viewers []proctree.Process }

// next takes the steps that are due. It reports whether the time is over.
func (s *stopping) next(server int, now time.Time) (over bool) {
	if !now.Before(s.kill) {
		return true
	}
	all := proctree.All()
	c := crowdBelow(os.Getpid(), server, all)
	for _, h := range c.holders {
		if !s.holders[h.PID] {
			s.holders[h.PID] = true
			_ = unix.Kill(h.PID, unix.SIGTERM)
		}
	}
	switch {
	case len(c.programs) > 0:
		s.turns.Step(now, c.programs, c.top)
	case len(c.holders) > 0:
	case s.leave.IsZero():
		s.leave = now.Add(flushGrace)
		if len(c.viewers) > 0 {
			s.leave = now.Add(viewerGrace)
		}
	case len(c.viewers) > 0 && now.Before(s.leave):
	case len(c.viewers) == 0 && now.Before(s.leave) && s.leave.Sub(now) > flushGrace:
		s.leave = now.Add(flushGrace)
	case now.Before(s.leave):
	case !s.served:
		s.served = true
		for _, p := range proctree.NewTree(all).Below(os.Getpid(), nil) {
			_ = unix.Kill(p.PID, unix.SIGTERM)
		}
	}
	return false
}

// crowdBelow sorts the processes of a workspace. Clients that wait for sessions run this
// program, and the processes that started them wait with them.
func crowdBelow(self, server int, all []proctree.Process) (c crowd) {
	tree := proctree.NewTree(all)
	below := tree.Below(self, func(p proctree.Process) bool {
		holder := session.IsHolder(p.PID)
		if holder && !p.Zombie {
			c.holders = append(c.holders, p)
		}
		return holder
	})
	parent, waits := map[int]int{}, map[int]bool{}
	for _, p := range below {
		parent[p.PID] = p.Parent
	}
	for _, p := range below {
		if p.PID != server && isOwnProgram(p.PID) {
			for pid := p.PID; pid != server && pid != self && pid != 0 && !waits[pid]; pid = parent[pid] {
				waits[pid] = true
			}
		}
	}
	for _, p := range below {
		switch {
		case p.PID == server:
		case waits[p.PID]:
			c.viewers = append(c.viewers, p)
		default:
			c.programs = append(c.programs, p)
		}
	}
	for _, p := range c.programs {
		if !slices.ContainsFunc(c.programs, func(q proctree.Process) bool { return q.PID == p.Parent }) {
			c.top = append(c.top, p)
		}
	}
	return c
}

func isOwnProgram(pid int) bool {
	program := proctree.Program(pid)
	return program != "" && program == proctree.Program(os.Getpid())
}
