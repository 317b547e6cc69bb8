// Package noded is the process around the node: its engines, its directories and the guest program
// that it puts into workspaces. What a node does with a request is in package node. Begin with Run.
package noded

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"keyway/internal/api"
	"keyway/internal/assets"
	"keyway/internal/engine"
	"keyway/internal/keyway"
	"keyway/internal/node"
	"keyway/internal/pipe"
)

// Run serves the API of this place over standard input and output until the other end closes them.
// args are the program's arguments: --stdio, the only transport, with or without the word node
// before it. guest is an executable that can be a guest, for a build that embeds none; "" if there
// is none.
func Run(ctx context.Context, args []string, guest string) error {
	if len(args) > 0 && args[0] == "node" {
		args = args[1:]
	}
	if len(args) != 1 || args[0] != "--stdio" {
		return keyway.Errorf(keyway.Usage, "a node speaks over standard input and output only").Hint("keyway-node --stdio")
	}
	return serve(ctx, guest)
}

func serve(ctx context.Context, plainGuest string) error {
	api.RelayOnOneCPU()
	completeLogin()
	// The bootstrap starts this in the directory that it has checked.
	if home, err := os.UserHomeDir(); err == nil {
		_ = os.Chdir(home)
	}
	root, err := nodeRoot()
	if err != nil {
		return err
	}
	guestsIn := guestRoot(root)
	program := guestProgram{install: func() (engine.Guest, error) { return installGuest(guestsIn, plainGuest) }}
	guest, noGuest := program.open()
	homes := engine.HomesIn(root)
	if self, err := os.Executable(); err == nil && noGuest == nil {
		node.Prune(root, homes, guest, self, time.Now())
	}
	n := node.New(homes, program.put, openEngines(root, guest)...)
	in, out := pipe.Pollable(os.Stdin), pipe.Pollable(os.Stdout)
	os.Stdout = os.Stderr // nothing may write between the frames
	if _, err := io.WriteString(out, api.Greeting()); err != nil {
		return err
	}
	pipe.Widen(pipe.Widest, in, out)
	conn := pipe.Conn(bufio.NewReaderSize(in, pipe.ReadAhead), out, func() error { return errors.Join(in.Close(), out.Close()) })
	return api.ServeConn(ctx, conn, api.NewHandler(n))
}

// guestProgram is the guest program of this place. The engines are told once where it is.
type guestProgram struct {
	install func() (engine.Guest, error)
	mu      sync.Mutex
	told    engine.Guest // the engines' knowledge of it
	err     error        // why it is not installed, at the last attempt
}

// open installs the program for the first time. The engines get the Guest that it returns, even
// with an error: the program may be installed later.
func (p *guestProgram) open() (engine.Guest, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told, p.err = p.install()
	return p.told, p.err
}

// put tries again if the last attempt failed: a full disk may have space by now. If the engines
// could not be given the program, a new node is needed.
func (p *guestProgram) put() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil && p.told.Dir != "" {
		var again engine.Guest
		if again, p.err = p.install(); p.err == nil && again != p.told {
			p.err = keyway.Errorf(keyway.VersionMismatch, "the program that goes into workspaces was exchanged while this node runs").
				Advise(keyway.StopLink)
		}
	}
	return p.err
}

// installGuest puts the guest program where workspaces find it: the embedded one, otherwise
// program.
func installGuest(root, program string) (engine.Guest, error) {
	if g, ok := assets.Guest(runtime.GOARCH); ok {
		return node.InstallGuest(root, bytes.NewReader(g.Gzip), g.Hash, "")
	}
	if program == "" {
		return engine.Guest{}, keyway.Errorf(keyway.VersionMismatch, "this keyway-node carries no program to put into workspaces").
			Hint("use a release of keyway, or build one with: make build")
	}
	return node.InstallGuest(root, nil, "", program)
}
