//go:build linux

package holder

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// Descriptors that a holder is started with.
const (
	fdLock  = 3 // the session's lock; held as long as the holder lives
	fdReady = 4 // a pipe: a startReport, then closed
)

// startReport is a holder's report to the process that started it: the error, or none.
type startReport struct {
	Start *StartError   `json:"start,omitempty"`
	Error *keyway.Error `json:"error,omitempty"`
}

func reportOf(err error) startReport {
	var start *StartError
	switch {
	case err == nil:
		return startReport{}
	case errors.As(err, &start):
		return startReport{Start: start}
	default:
		return startReport{Error: keyway.AsError(err)}
	}
}

// Hold is the holder process: `keyway-guest holder …`. Only run and attach start it, with the
// session's lock and a pipe for its report, as leader of a process session of its own.
func Hold(args []string) int {
	if len(args) == 1 && args[0] == "--handover" {
		fmt.Println(handoverVersion)
		return 0
	}
	unix.CloseOnExec(fdLock)
	o, err := parseHoldOptions(args)
	frugal()
	signals := catchSignals()
	if err == nil && o.resume > 0 {
		return resume(o, signals)
	}
	ready := os.NewFile(fdReady, "ready")
	unix.CloseOnExec(fdReady)
	var h *holder
	if err == nil {
		h, err = newHolder(o)
	}
	report := json.NewEncoder(ready).Encode(reportOf(err))
	ready.Close()
	if err != nil {
		return 1
	}
	if report != nil {
		// The process that started this session is gone already. Sessions are made for that.
		fmt.Fprintln(os.Stderr, "nobody waits for this session's start:", report)
	}
	h.run(signals)
	return 0
}

// resume is Hold for a holder that has been replaced by a newer program.
func resume(o Options, signals chan os.Signal) int {
	h, err := resumeHolder(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the session is lost with its new holder:", err)
		return 1
	}
	h.run(signals)
	return 0
}

// frugal keeps a holder small: on a machine with a hundred cores, Go would keep caches for each of
// them.
func frugal() {
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(15) // most of the heap is history, which costs nothing to collect
}

// catchSignals catches the signals that would end a holder. It does not ignore them, because the
// job would inherit that.
func catchSignals() chan os.Signal {
	c := make(chan os.Signal, 16)
	signal.Notify(c, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGPIPE, unix.SIGUSR1, unix.SIGUSR2)
	return c
}
