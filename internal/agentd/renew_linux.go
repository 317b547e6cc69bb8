package agentd

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/agent"
	"keyway/internal/audit"
	"keyway/internal/handover"
)

// renewSignal has the agent become the program that lies where its own lay: after
// an upgrade, with all its keys, and in the same process.
var renewSignal os.Signal = syscall.SIGUSR2

// triesProgram bounds the time in which a new program shows that it runs.
const triesProgram = 10 * time.Second

// envHandover names the variable by which a renewed agent finds its handed-over state. The name is
// that of earlier versions, whose agents are renewed as well.
const envHandover = "KEYWAY_AGENT_HEIRLOOM"

// Renewed reports whether an agent of an older program has become this process.
func Renewed() bool { return os.Getenv(envHandover) != "" }

// HardenRenewed hardens such a process, which must be done first: Run refuses one that was traced.
func HardenRenewed() {
	if Renewed() {
		_ = agent.HardenProcess()
	}
}

// takenOver is the state that a renewed agent receives. It includes the keys; no other program
// can read it on its way.
type takenOver struct {
	Path, Forward string
	Kept          bool
	Listeners     []int // descriptors
	Conns         []int

	state []byte
	conns []net.Conn
}

// renew becomes the program. It returns only if that fails.
func (s *setup) renew(a *agent.Agent, sockets *socketSet) error {
	state, conns, err := a.HandOver()
	defer clear(state)
	defer closeAll(conns)
	if err != nil {
		return err
	}
	listeners, err := sockets.files()
	defer closeAll(listeners)
	if err != nil {
		return err
	}
	b := handover.Bundle{State: state}
	for _, f := range slices.Concat(listeners, conns) {
		if err := b.Add(f); err != nil {
			return err
		}
	}
	note, err := json.Marshal(takenOver{
		Path: sockets.path, Forward: sockets.forward, Kept: sockets.kept,
		Listeners: b.Descriptors[:len(listeners)], Conns: b.Descriptors[len(listeners):],
	})
	if err != nil {
		return err
	}
	return b.Exec(s.program, envHandover, note)
}

// inherit returns the state that a renewed agent has inherited; nil if this process is not one.
func inherit() (*takenOver, error) {
	note, state, found, err := handover.Inherit(envHandover, agent.HardenProcess)
	if !found || err != nil {
		return nil, err
	}
	t := &takenOver{state: state}
	if err := json.Unmarshal(note, t); err != nil {
		return nil, err
	}
	for _, fd := range t.Conns {
		conn, err := handover.Conn(fd)
		if err != nil {
			return nil, err
		}
		t.conns = append(t.conns, conn)
	}
	return t, nil
}

// sockets returns the sockets of the previous agent.
func (t *takenOver) sockets() (*socketSet, error) {
	s := &socketSet{path: t.Path, forward: t.Forward, kept: t.Kept}
	for _, fd := range t.Listeners {
		if err := s.inherited(uintptr(fd), []string{t.Path}); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// renewable returns an error if the agent must not execute the program. A program that its user
// can replace would give the keys to any other program of the user.
func (s *setup) renewable(ctx context.Context) error {
	if !s.renewAny {
		if err := ownedByRoot(s.program); err != nil {
			return err
		}
	}
	if err := s.checkPolicy(); err != nil {
		return fmt.Errorf("a new agent would not start: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, triesProgram)
	defer cancel()
	if err := exec.CommandContext(ctx, s.program, "agent", "--help").Run(); err != nil {
		return fmt.Errorf("%s does not run: %w", s.program, err)
	}
	return nil
}

// ownedByRoot reports whether only root can change the file at path.
func ownedByRoot(path string) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for p := path; ; p = filepath.Dir(p) {
		var st unix.Stat_t
		if err := unix.Stat(p, &st); err != nil {
			return err
		}
		sticky := st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&unix.S_ISVTX != 0
		if st.Uid != 0 || st.Mode&0o022 != 0 && !sticky {
			return fmt.Errorf("others than root can change %s: start the agent with -O renew=any to have it renewed all the same", p)
		}
		if p == filepath.Dir(p) {
			return nil
		}
	}
}

// renewOnSignal freezes the agent for each signal that can be followed.
func (s *setup) renewOnSignal(ctx context.Context, a *agent.Agent, signals <-chan os.Signal) {
	for {
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
		if err := s.renewable(ctx); err != nil {
			s.notRenewed(err)
			continue
		}
		if a.AwaitQuiet(ctx) {
			a.Freeze()
			return
		}
	}
}

func (s *setup) notRenewed(err error) {
	_ = s.log.Append(audit.Event{Event: audit.Renew, Verdict: audit.Failed, Reason: err.Error()})
}
