//go:build linux

package session

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// onExitLog is the file with what the command that --on-exit names has printed.
const onExitLog = "on-exit.log"

// onExit starts the command that was to be run when the job has ended. Nobody
// waits for it: it is in a kernel session of its own and outlives the holder.
func (h *holder) onExit(r exitRecord) error {
	if h.options.onExit == "" {
		return nil
	}
	out, err := os.OpenFile(filepath.Join(h.options.dir, onExitLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	_, err = syscall.ForkExec("/bin/sh", []string{"sh", "-c", h.options.onExit}, &syscall.ProcAttr{
		Dir: h.cwd, Env: append(h.options.environment(), r.facts()...),
		Files: []uintptr{null.Fd(), out.Fd(), out.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	return err
}

// facts are what the command is told of the end, in its environment.
func (r exitRecord) facts() []string {
	return []string{
		"KEYWAY_EXIT_CODE=" + strconv.Itoa(r.Code), "KEYWAY_SIGNAL=" + r.Signal, "KEYWAY_OOM_KILLS=" + strconv.FormatUint(r.OOMKills, 10),
		"KEYWAY_STARTED=" + r.Started.Format(time.RFC3339), "KEYWAY_ENDED=" + r.Ended.Format(time.RFC3339),
	}
}
