// Package inside is what an engine does in a container by means of its daemon: it puts
// files there, and runs the guest program to reach the guest that serves there.
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

// The labels that tell the container of a workspace. Nothing is believed because of them.
const (
	LabelName  = "dev.keyway.name"
	LabelOwner = "dev.keyway.owner"
)

// Container is one of a daemon's.
type Container struct {
	Client *daemon.Client
	ID     string
	User   string // whom the guest program runs as; empty: the container's own user
}

// Extract puts an archive into the container, at "/".
func (c Container) Extract(ctx context.Context, archive []byte) error {
	_, err := c.Client.CopyToContainer(ctx, c.ID, client.CopyToContainerOptions{
		DestinationPath: "/", Content: bytes.NewReader(archive), AllowOverwriteDirWithFile: true,
	})
	return err
}

// Start starts a command of the guest program with more variables. The connection is its
// standard input and output; id is what the daemon calls it.
func (c Container) Start(ctx context.Context, command string, env ...string) (conn *daemon.ExecConn, id string, err error) {
	return c.Client.ExecWith(ctx, c.ID, client.ExecCreateOptions{
		User: c.User, Env: env, Cmd: []string{keyway.GuestHome.Program(), command, "--home", string(keyway.GuestHome)},
	})
}

// ask starts a command of the guest program. The connection is there until ctx ends or the
// caller leaves.
func (c Container) ask(ctx context.Context, command string) (conn *daemon.ExecConn, leave func(), err error) {
	conn, _, err = c.Start(ctx, command)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return conn, func() { stop(); conn.Close() }, nil
}

// Run runs a command of the guest program until it has ended. It fails if the command says
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

// LastWords waits for the end of a command, which fails if it has said anything. A daemon
// that cannot start one tells why in its place.
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

// maxWords bounds what is kept of a command's output, in bytes.
const maxWords = 2 << 10

// Dial connects to the guest.
func (c Container) Dial(ctx context.Context) (net.Conn, error) {
	conn, _, err := c.Start(ctx, "dial")
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// infoTime bounds how long Info waits.
const infoTime = 5 * time.Second

// Info is what the guest says of itself; it waits some seconds for it.
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

// Greets reports whether the guest serves. It waits engine.Answer at most.
func (c Container) Greets(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, engine.Answer)
	defer cancel()
	conn, err := c.Dial(ctx)
	if err != nil {
		return err
	}
	return engine.Greets(ctx, conn)
}

// NobodyServes reports whether it is certain that nobody listens where the guest would,
// which only the guest program itself tells. It is told nothing: Podman loses the words of
// a program that ends before it has read all that it was sent.
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

// patience is how long a guest may take to serve. It is asked often at first, then less so:
// a daemon cannot end what it has started in a container.
const (
	patience  = 30 * time.Second
	firstPoll = 10 * time.Millisecond
	lastPoll  = time.Second
)

// Await waits until the guest serves. Every now and then it asks alive, whose error ends
// the waiting.
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

// maxGuestThreads is more than a guest ever has, in threads.
const maxGuestThreads = 1024

// TooFewProcesses is the refusal of a limit of processes and threads that the guest does
// not fit into, if that is what a daemon or the guest has said; else nil. A program of Go
// that gets no thread says so, and then shows all that it did, which may be all that is
// left of its words.
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

// UserUnknown is the refusal of a user whom the image does not have, if that is what a
// daemon has said; else nil.
func UserUnknown(s keyway.Spec, said string) error {
	low := strings.ToLower(said)
	for _, sign := range []string{"unable to find user", "unable to find group", "no matching entries in passwd", "no matching entries in group", "invalid user"} {
		if strings.Contains(low, sign) {
			return keyway.Errorf(keyway.Usage, "the image %s knows no user %q: %s", s.Image, s.User, said).
				Advise(keyway.NumericUser)
		}
	}
	return nil
}
