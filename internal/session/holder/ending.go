//go:build linux

package holder

import (
	"os"
	"time"

	"keyway/internal/proctree"
	"keyway/internal/session"
)

// jobEnding is the ending of a job and of all processes that it has started.
type jobEnding struct {
	*proctree.Ending
	done chan struct{} // closed when no process is left that can be ended
}

func (e *jobEnding) over() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// end ends the job and all processes that it has started, in turns and within grace. A later call
// may shorten the time of an earlier one. If grace is 0, all are killed at once.
func (h *holder) end(grace time.Duration, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reason == "" {
		h.reason = reason
	}
	now := time.Now()
	if h.ending == nil || h.ending.over() {
		h.ending = &jobEnding{proctree.NewEnding(now.Add(grace)), make(chan struct{})}
		go h.endAll(h.ending) // ends with the last process; outlive and linger wait for it
	}
	h.ending.By(now.Add(grace))
	if grace <= 0 {
		h.ending.Hurry(now)
	}
}

// endAll carries out an ending.
func (h *holder) endAll(e *jobEnding) {
	defer func() {
		close(e.done)
		select {
		case h.ended <- struct{}{}:
		default: // the receiver has an unread value already
		}
	}()
	tick := time.NewTicker(proctree.TurnPoll)
	defer tick.Stop()
	for {
		all := session.Descendants(os.Getpid())
		h.mu.Lock()
		now := time.Now()
		if len(all) == 0 || e.Hopeless(now) {
			h.mu.Unlock()
			return
		}
		e.Step(now, all, h.top(all))
		h.mu.Unlock()
		<-tick.C
	}
}

// top returns the processes of all that are told first: the job or, once it is gone, those that
// have lost their parent.
func (h *holder) top(all []proctree.Process) []proctree.Process {
	var orphans []proctree.Process
	for _, p := range all {
		switch {
		case p.PID == h.job.pid:
			return []proctree.Process{p}
		case p.Parent == os.Getpid():
			orphans = append(orphans, p)
		}
	}
	return orphans
}

// awaitEnding returns when an ending that has begun is over.
func (h *holder) awaitEnding() {
	h.mu.Lock()
	e := h.ending
	h.mu.Unlock()
	if e != nil {
		<-e.done
	}
}

// killed reports whether the holder has killed the job.
func (h *holder) killed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ending != nil && h.ending.Killing()
}
