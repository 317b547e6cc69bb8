// Package inside works in a container by means of its daemon: it copies files there, and runs the
// guest program to reach the guest that serves there.
package inside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

// The labels on the container of a workspace. They prove nothing.
const (
	LabelName  = "dev.keyway.name"
	LabelOwner = "dev.keyway.owner"
)

// Container is a container of a daemon.
type Container struct {
	Client *daemon.Client
	ID     string
	User   string // the user that the guest program runs as; empty: the container's own
}

// Extract extracts an archive in the container, at "/".
func (c Container) Extract(ctx context.Context, archive []byte) error {
	_, err := c.Client.CopyToContainer(ctx, c.ID, client.CopyToContainerOptions{
		DestinationPath: "/", Content: bytes.NewReader(archive), AllowOverwriteDirWithFile: true,
	})
	return err
}

// Start starts a command of the guest program with additional variables. The connection is its
// standard input and output; id is the daemon's name for it.
func (c Container) Start(ctx context.Context, command string, env ...string) (conn *daemon.ExecConn, id string, err error) {
	return c.Client.ExecWith(ctx, c.ID, client.ExecCreateOptions{
		User: c.User, Env: env, Cmd: []string{keyway.GuestHome.Program(), command, "--home", string(keyway.GuestHome)},
	})
}

// ask starts a command of the guest program. The connection lasts until ctx ends or the caller
// calls leave.
func (c Container) ask(ctx context.Context, command string) (conn *daemon.ExecConn, leave func(), err error) {
	conn, _, err = c.Start(ctx, command)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return conn, func() { stop(); conn.Close() }, nil
}

// Run runs a command of the guest program until it has ended. It fails if the command prints
// anything.
func (c Container) Run(ctx context.Context, command string) error {
	conn, leave, err := c.ask(ctx, command)
	if err != nil {
		return err
	}
	defer leave()
	if err = LastWords(conn); ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// LastWords waits for the end of a command. It fails if the command has printed anything. If a
// daemon cannot start the command, it sends the reason instead.
func LastWords(conn io.Reader) error {
	said, err := io.ReadAll(io.LimitReader(conn, maxWords))
	if err == nil {
		_, err = io.Copy(io.Discard, conn)
	}
	if words := strings.TrimSpace(strings.ToValidUTF8(string(said), "?")); err == nil && words != "" {
		return errors.New(words)
	}
	return err
}

// maxWords bounds the kept bytes of a command's output.
const maxWords = 2 << 10

// Dial connects to the guest.
func (c Container) Dial(ctx context.Context) (net.Conn, error) {
	conn, _, err := c.Start(ctx, "dial")
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// infoTime bounds the time that Info waits.
const infoTime = 5 * time.Second

// Info returns the guest's description of itself. It waits some seconds for it.
func (c Container) Info(ctx context.Context) (keyway.GuestInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, infoTime)
	defer cancel()
	conn, leave, err := c.ask(ctx, "info")
	if err != nil {
		return keyway.GuestInfo{}, err
	}
	defer leave()
	info, err := keyway.DecodeInfo(conn)
	if ctx.Err() != nil {
		return info, ctx.Err()
	}
	return info, err
}

// Greets returns nil if the guest serves. It waits at most engine.Answer.
func (c Container) Greets(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, engine.Answer)
	defer cancel()
	conn, err := c.Dial(ctx)
	if err != nil {
		return err
	}
	return engine.Greets(ctx, conn)
}

// NobodyServes reports whether it is certain that no guest listens, which only the guest program in
// the container finds out. It sends the program nothing: Podman loses the output of a program that
// ends before it has read all its input.
func (c Container) NobodyServes(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, engine.Answer)
	defer cancel()
	err := c.Run(ctx, "dial")
	if err == nil {
		return false
	}
	_, why, found := strings.Cut(err.Error(), keyway.GuestProgram+": the guest does not answer: dial unix ")
	return found && (strings.Contains(why, "connection refused") || strings.Contains(why, "no such file or directory"))
}

// patience is the time in which a guest must serve. It is asked often at first and then less often:
// a daemon cannot end a process that it has started in a container.
const (
	patience  = 30 * time.Second
	firstPoll = 10 * time.Millisecond
	lastPoll  = time.Second
)

// Await waits until the guest serves. From time to time it calls alive, whose error ends the wait.
func (c Container) Await(ctx context.Context, alive func(context.Context) error) (keyway.GuestInfo, error) {
	deadline := time.Now().Add(patience)
	for poll := firstPoll; ; poll = min(2*poll, lastPoll) {
		info, err := c.Info(ctx)
		if err == nil {
			err = c.Greets(ctx)
		}
		if err == nil {
			return info, nil
		}
		if ctx.Err() != nil {
			return info, ctx.Err()
		}
		if err := alive(ctx); err != nil {
			return info, err
		}
		if time.Now().After(deadline) {
			return info, fmt.Errorf("%w: %w", engine.ErrGuestSilent, err)
		}
		if err := sleep.For(ctx, poll); err != nil {
			return info, err
		}
	}
}

// maxGuestThreads is more threads than a guest ever has.
const maxGuestThreads = 1024

// TooFewProcesses returns an error about a limit of processes and threads that is too low for the
// guest, if that is the cause of a daemon's or the guest's message; otherwise nil. A Go program
// that gets no thread says so and then prints all its goroutines, which may be all that is left of
// its output.
func TooFewProcesses(s keyway.Spec, said string) error {
	if s.PidsLimit <= 0 || s.PidsLimit > maxGuestThreads {
		return nil
	}
	for _, sign := range []string{"failed to create new OS thread", "newosproc", "esource temporarily unavailable", "\ngoroutine "} {
		if strings.Contains("\n"+said, sign) {
			return keyway.Errorf(keyway.Usage, "the guest does not fit into a limit of %d processes and threads: it has some 20 of its own, and each job some more", s.PidsLimit).
				Advise(keyway.ChangeOrLeaveOut, "pids-limit")
		}
	}
	return nil
}

// UserUnknown returns an error about a user that the image does not have, if that is the cause of a
// daemon's message; otherwise nil.
func UserUnknown(s keyway.Spec, said string) error {
	low := strings.ToLower(said)
	for _, sign := range []string{"unable to find user", "unable to find group", "no matching entries in passwd", "no matching entries in group", "invalid user"} {
		if strings.Contains(low, sign) {
			return keyway.Errorf(keyway.Usage, "the image %s has no user %q: %s", s.Image, s.User, said).
				Advise(keyway.NumericUser)
		}
	}
	return nil
}
