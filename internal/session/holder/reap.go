//go:build linux

package holder

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
	"keyway/internal/session"
)

// jobStatus describes the end of a job.
type jobStatus struct {
	session.End
	at   time.Time
	cut  bool
	left []session.LeftProcess
	// The kernel's memory statistics: the peak of the job or of one of its children, in KiB, and
	// whether it was probably the job's own.
	memory    int64
	ownFaults bool
}

// reap collects all children: the job, and the orphans that it left. It reports the job's end.
// Nothing waits for the goroutine: processes that outlive the job keep it busy until the holder
// exits.
func (h *holder) reap() <-chan jobStatus {
	done := make(chan jobStatus, 1)
	go h.reapAll(done)
	return done
}

// reapAll collects children until there is none.
func (h *holder) reapAll(done chan<- jobStatus) {
	for {
		// Waits without reaping: see gate.
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			err = h.reapOne(done)
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func (h *holder) reapOne(done chan<- jobStatus) error {
	h.gate.RLock()
	defer h.gate.RUnlock()
	var ws unix.WaitStatus
	var used unix.Rusage
	job, _ := proctree.Read(h.job.pid)
	pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, &used)
	switch {
	case err != nil:
	case pid == h.job.pid:
		s := jobStatus{End: statusOf(ws), at: time.Now()}
		s.memory, s.ownFaults = used.Maxrss, job.Faults >= job.ChildFaults
		h.over = true
		h.output.release()
		done <- s
	default:
		h.hookEnded(pid, ws)
	}
	return err
}

func statusOf(ws unix.WaitStatus) session.End {
	if ws.Signaled() {
		return session.End{Code: 128 + int(ws.Signal()), Signal: ws.Signal()}
	}
	return session.End{Code: ws.ExitStatus()}
}

// record puts the exit record on disk.
func (h *holder) record(s jobStatus) session.ExitRecord {
	size, _ := h.output.state()
	missing, why := h.output.loss()
	h.mu.Lock()
	r := session.ExitRecord{
		Code: s.Code, Started: h.started, Ended: s.at, Output: size, Lost: missing, LogErr: why, Cut: s.cut, Left: s.left, Reason: h.reason,
	}
	h.mu.Unlock()
	if h.job.tty {
		w := h.viewers.size()
		r.Rows, r.Cols = w.Rows, w.Cols
	}
	if s.Signal != 0 {
		r.Signal = session.SignalName(s.Signal)
	}
	if s.Code != 0 {
		r.OOMKills = max(h.oom.Kills(), h.oomKills) - h.oomKills
		r.OOM = h.outOfMemory(s)
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = h.exit.commit(append(data, '\n'))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the exit record could not be written:", err)
	}
	return r
}
