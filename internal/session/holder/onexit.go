//go:build linux

package holder

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/session"
)

// onExitLog is the file with the output of the command of --on-exit.
const onExitLog = "on-exit.log"

// hook is the running command of --on-exit.
type hook struct {
	pid  int
	done chan struct{} // closed when it has ended
}

// onExit starts the command of --on-exit after the job has ended. It returns a channel that is
// closed when the command has ended; nil if there is no command.
func (h *holder) onExit(r session.ExitRecord) <-chan struct{} {
	if h.options.OnExit == "" {
		return nil
	}
	h.mu.Lock() // until its pid is known, because it may end before
	defer h.mu.Unlock()
	pid, err := h.startHook(r)
	if err != nil {
		h.recordHook(session.HookRecord{Error: err.Error()})
		return nil
	}
	h.hook = hook{pid, make(chan struct{})}
	go h.reapAll(nil) // the first reaper ends when there are no children for a moment; nothing waits for this one either
	return h.hook.done
}

// startHook starts the command in a process session of its own.
func (h *holder) startHook(r session.ExitRecord) (pid int, err error) {
	out, err := os.OpenFile(filepath.Join(h.options.dir, onExitLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, session.AsNoSpace(err, h.options.dir)
	}
	defer out.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	return syscall.ForkExec("/bin/sh", []string{"sh", "-c", h.options.OnExit}, &syscall.ProcAttr{
		Dir: h.hookDir(), Env: append(h.options.environment(), factsOf(r)...),
		Files: []uintptr{null.Fd(), out.Fd(), out.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
}

// hookDir returns the directory that the job began in, if it still exists.
func (h *holder) hookDir() string {
	for _, dir := range []string{h.cwd, os.Getenv("HOME")} {
		if st, err := os.Stat(dir); err == nil && st.IsDir() && unix.Access(dir, unix.X_OK) == nil {
			return dir
		}
	}
	return "/"
}

// hookEnded notes the end of a child that may be the command.
func (h *holder) hookEnded(pid int, ws unix.WaitStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hook.done == nil || pid != h.hook.pid {
		return
	}
	s := statusOf(ws)
	r := session.HookRecord{Code: s.Code}
	if s.Signal != 0 {
		r.Signal = session.SignalName(s.Signal)
	}
	h.recordHook(r)
	close(h.hook.done)
	h.hook = hook{}
}

func (h *holder) recordHook(r session.HookRecord) {
	data, err := json.Marshal(r)
	if err == nil {
		err = keyway.WriteFile(filepath.Join(h.options.dir, session.HookName), append(data, '\n'), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the result of the command at the end is not on record:", err)
	}
}

// factsOf returns the variables that tell the command how the job ended.
func factsOf(r session.ExitRecord) []string {
	return []string{
		"KEYWAY_EXIT_CODE=" + strconv.Itoa(r.Code), "KEYWAY_SIGNAL=" + r.Signal, "KEYWAY_OOM_KILLS=" + strconv.FormatUint(r.OOMKills, 10),
		"KEYWAY_STARTED=" + r.Started.Format(time.RFC3339), "KEYWAY_ENDED=" + r.Ended.Format(time.RFC3339),
	}
}
