package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"syscall"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

func notRegular(name string) error {
	return &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
}

// Info returns the guest's description of itself. The error wraps fs.ErrNotExist until the guest is
// ready.
func Info(home keyway.Home) (keyway.GuestInfo, error) {
	root, err := os.OpenRoot(string(home))
	if err != nil {
		return keyway.GuestInfo{}, err
	}
	defer root.Close()
	f, err := OpenIn(root, path.Base(home.Info()))
	if err != nil {
		return keyway.GuestInfo{}, err
	}
	defer f.Close()
	return keyway.DecodeInfo(f)
}

// maxSessions bounds the sessions of a workspace that are looked at.
const maxSessions = 10_000

// Sessions counts the living sessions of the workspace with its data in that directory. It returns
// -1 if they belong to another user or the directory is not here.
func Sessions(data string) int {
	if data == "" {
		return -1
	}
	root, err := os.OpenRoot(data)
	if err != nil {
		return -1
	}
	defer root.Close()
	sessions, err := openDir(root, sessionsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		return -1
	}
	defer sessions.Close()
	return countHeld(sessions)
}

var sessionsDir = path.Base(keyway.GuestHome.Sessions())

// openDir opens a directory that a workspace made. If the workspace replaces it meanwhile, the
// result is still below root: a Root follows no link out of it.
func openDir(root *os.Root, name string) (*os.Root, error) {
	st, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
	}
	return root.OpenRoot(name)
}

// countHeld counts the directories in root whose lock is held.
func countHeld(root *os.Root) int {
	dir, err := root.Open(".")
	if err != nil {
		return -1
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxSessions)
	if err != nil && !errors.Is(err, io.EOF) {
		return -1
	}
	living := 0
	for _, name := range names {
		held, err := Held(root, path.Join(name, "lock"))
		if errors.Is(err, fs.ErrPermission) {
			return -1
		}
		if held { // a file that is not a session's lock does not count

			living++
		}
	}
	return living
}

// probeBanner is the identification that Greets sends first: a guest may wait for the first bytes
// to see which protocol its client speaks (RFC 4253, section 4.2).
const probeBanner = "SSH-2.0-keyway_probe\r\n"

// Greets returns nil if a serving guest is at the other end of conn, which it closes. It waits
// until ctx ends.
func Greets(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, probeBanner); err != nil {
		return greetErr(ctx, err)
	}
	var first [4]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return greetErr(ctx, err)
	}
	if string(first[:]) != "SSH-" {
		return fmt.Errorf("the guest sends %q instead of an SSH identification", first)
	}
	return nil
}

func greetErr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("the guest sends no SSH identification: %w", err)
}

// The intervals at which Await polls: short at first, because a guest needs some ten milliseconds
// and a person waits for it, then longer.
const (
	pollSoon     = 2 * time.Millisecond
	pollLater    = 25 * time.Millisecond
	soon         = 500 * time.Millisecond
	pollAlive    = 60 * time.Millisecond
	guestTimeout = 30 * time.Second
)

// ErrGuestSilent is the error of Await for a guest that was not ready in time.
var ErrGuestSilent = errors.New("the guest did not answer in time")

// Await waits until the guest with that Home serves. From time to time it calls alive, whose error
// ends the wait: a guest that has died will never serve.
func Await(ctx context.Context, home keyway.Home, alive func(context.Context) error) (keyway.GuestInfo, error) {
	start, asked := time.Now(), time.Now()
	for {
		if info, ok := serves(ctx, home); ok {
			return info, nil
		}
		if time.Since(asked) > pollAlive {
			if err := alive(ctx); err != nil {
				return keyway.GuestInfo{}, err
			}
			asked = time.Now()
		}
		pause := pollSoon
		switch waited := time.Since(start); {
		case waited > guestTimeout:
			return keyway.GuestInfo{}, ErrGuestSilent
		case waited > soon:
			pause = pollLater
		}
		if err := sleep.For(ctx, pause); err != nil {
			return keyway.GuestInfo{}, err
		}
	}
}

// Answer bounds the time in which a serving guest greets.
const Answer = 2 * time.Second

// Answers reports whether the guest with that Home serves now.
func Answers(ctx context.Context, home keyway.Home) bool {
	_, ok := serves(ctx, home)
	return ok
}

func serves(ctx context.Context, home keyway.Home) (keyway.GuestInfo, bool) {
	info, err := Info(home)
	if err != nil {
		return info, false
	}
	ctx, cancel := context.WithTimeout(ctx, Answer)
	defer cancel()
	conn, err := Dial(ctx, home)
	if err != nil {
		return info, false
	}
	return info, Greets(ctx, conn) == nil
}

// Forget removes files of a guest that has ended, which Await would take for a sign of life.
func Forget(home keyway.Home) error {
	return errors.Join(removeFile(home.Info()), removeFile(home.Socket()))
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
