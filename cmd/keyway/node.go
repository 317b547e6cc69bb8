package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/api"
	"keyway/internal/assets"
	"keyway/internal/dirs"
	"keyway/internal/engine"
	"keyway/internal/engine/docker"
	"keyway/internal/engine/host"
	"keyway/internal/keyway"
	"keyway/internal/link"
	"keyway/internal/node"
)

func newNodeCommand() *cobra.Command {
	var stdio bool
	cmd := &cobra.Command{
		Use:   "node --stdio",
		Short: "Be the node: run workspaces at this place for a link",
		Long: `Serve the API of a place over standard input and output. The link runs this at the
other end of its ssh; nobody needs to type it.` + exitCodes(keyway.BadConfig),
		Example: "  ssh gpu1 .cache/keyway/keyway-… node --stdio",
		Args:    takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !stdio {
				return keyway.Errorf(keyway.Usage, "a node speaks over standard input and output only").Hint("keyway node --stdio")
			}
			return runNode(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&stdio, "stdio", false, "speak over standard input and output")
	return cmd
}

func runNode(ctx context.Context) error {
	relayOnOneCPU()
	root, err := nodeRoot()
	if err != nil {
		return err
	}
	guest, noGuest := installGuest(root)
	homes := engine.HomesIn(root)
	if self, err := os.Executable(); err == nil && noGuest == nil {
		node.Prune(root, homes, guest, self, time.Now())
	}
	engines, err := docker.Engines(root, guest)
	if err != nil {
		engines = []engine.Engine{misconfigured{"docker", err}}
	}
	engines = append(engines, host.New(root, guest))
	n := node.New(homes, noGuest, engines...)
	in, out := api.Pollable(os.Stdin), api.Pollable(os.Stdout)
	os.Stdout = os.Stderr // nothing may write between the frames
	if _, err := io.WriteString(out, link.Greeting()); err != nil {
		return err
	}
	api.Widen(in, out)
	conn := api.PipeConn(bufio.NewReaderSize(in, api.ReadAhead), out, func() error { return errors.Join(in.Close(), out.Close()) })
	return api.ServeConn(ctx, conn, api.NewHandler(n))
}

// nodeRoot is where workspaces have their files: the state directory, or the
// runtime directory where the home directory is read-only.
func nodeRoot() (string, error) {
	root, err := dirs.State()
	if err == nil {
		err = writable(root)
	}
	if err == nil || keyway.Is(err, keyway.NoSpace) {
		return root, nil // a full disk is told by whatever needs it; removing still works
	}
	if other, fallback := dirs.Runtime(); fallback == nil && writable(other) == nil {
		return other, nil
	}
	return "", err
}

func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return keyway.Errorf(keyway.BadConfig, "%s cannot be written to: %w", dir, err)
	}
	f.Close()
	return os.Remove(f.Name())
}

// misconfigured stands for an engine whose configuration cannot be read.
type misconfigured struct {
	name string
	why  error
}

var _ engine.Engine = misconfigured{}

func (m misconfigured) Name() string                { return m.name }
func (m misconfigured) Probe(context.Context) error { return m.why }
func (m misconfigured) List(context.Context) ([]keyway.Workspace, error) {
	return nil, m.why
}
func (m misconfigured) Create(context.Context, keyway.Spec, func(keyway.Progress)) (keyway.Workspace, error) {
	return keyway.Workspace{}, m.why
}
func (m misconfigured) Stop(context.Context, keyway.Name) error   { return m.why }
func (m misconfigured) Start(context.Context, keyway.Name) error  { return m.why }
func (m misconfigured) Remove(context.Context, keyway.Name) error { return m.why }
func (m misconfigured) Dial(context.Context, keyway.Name) (net.Conn, error) {
	return nil, m.why
}

func installGuest(root string) (engine.Guest, error) {
	if g, ok := assets.Guest(runtime.GOARCH); ok {
		return node.InstallGuest(root, bytes.NewReader(g.Gzip), g.Hash, "")
	}
	self, err := os.Executable()
	if err != nil {
		return engine.Guest{}, err
	}
	if runtime.GOOS != "linux" {
		return engine.Guest{}, keyway.Errorf(keyway.VersionMismatch, "%s carries no Linux program to put into workspaces", filepath.Base(self)).
			Hint("use a release of keyway, or build one with: make release")
	}
	return node.InstallGuest(root, nil, "", self)
}
