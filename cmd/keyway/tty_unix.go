//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// openTerminal opens the controlling terminal, which is there even when the
// standard streams are an ssh's.
func openTerminal() (*os.File, error) { return os.OpenFile("/dev/tty", os.O_RDWR, 0) }

// become replaces this process by the program: its terminal, signals and exit
// status are the user's from then on.
func become(path string, argv []string, env []string) error {
	return syscall.Exec(path, argv, env)
}

// askKey puts a question to the person at the controlling terminal, wherever the
// standard streams lead, and returns the first byte that is typed; 0 if nobody can be
// asked: there is no such terminal, this process is in its background, or standard
// error is kept from it, as scripts do. SIGTERM and SIGHUP end the waiting.
func askKey(question string) byte {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return 0
	}
	tty, err := openTerminal()
	if err != nil {
		return 0
	}
	defer tty.Close()
	raw, err := tty.SyscallConn() // Fd would make reads that nothing interrupts
	fd := -1
	if err != nil || raw.Control(func(p uintptr) { fd = int(p) }) != nil {
		return 0
	}
	if group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err != nil || group != unix.Getpgrp() {
		return 0 // to read would stop this process
	}
	state, err := term.MakeRaw(fd)
	if err != nil {
		return 0
	}
	defer func() { _ = term.Restore(fd, state) }()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGHUP)
	defer stop()
	defer context.AfterFunc(ctx, func() { _ = tty.SetReadDeadline(time.Unix(1, 0)) })()
	fmt.Fprintf(tty, "\r\n%s ", question)
	var typed [1]byte
	_, _ = tty.Read(typed[:])
	fmt.Fprint(tty, "\r\n")
	return typed[0]
}
