package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/spf13/cobra"

	"keyway/internal/api"
	"keyway/internal/assets"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/link"
	"keyway/internal/sshconfig"
	"keyway/internal/unixsock"
)

func newLinkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "link",
		Short: "Control the process that keeps connections to places open",
		Long: `The link, one process per user, keeps an ssh to each place open and carries the connections
to workspaces. The first command that needs it starts it; there is nothing to set up.`,
		Example: "  keyway link stop",
		Args:    takes(0, 0, ""),
		RunE:    func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:    "serve",
		Short:  "Be the link (started by the other commands)",
		Hidden: true,
		Args:   takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runLink(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}, &cobra.Command{
		Use:    "guard",
		Short:  "Speak for a link that was killed (started by the link)",
		Hidden: true,
		Args:   takes(0, 0, ""),
		RunE:   func(cmd *cobra.Command, args []string) error { return link.Guard(os.Stdin, nextOf) },
	}, &cobra.Command{
		Use:   "stop",
		Short: "End the link and every connection that goes through it",
		Long: `End the link and every connection that goes through it, also one that does not answer. The
next command that needs one starts another.` + exitCodes(),
		Example: "  keyway link stop",
		Args:    takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			runtimeDir, err := dirs.Runtime()
			if err != nil {
				return err
			}
			ui := newUI(os.Stderr)
			defer ui.end()
			ran, err := link.End(cmd.Context(), runtimeDir, ui.Progress)
			if err == nil && !ran {
				fmt.Fprintln(cmd.ErrOrStderr(), "no link was running")
			}
			return err
		},
	})
	return cmd
}

// maxLog is the size in bytes from which a new link truncates its log.
const maxLog = 1 << 20

func runLink(ctx context.Context, ready, log io.Writer) error {
	api.RelayOnOneCPU()
	if err := link.CheckLimits(); err != nil {
		fmt.Fprintln(ready, err)
		return err
	}
	runtimeDir, err := dirs.Runtime()
	if err != nil {
		return err
	}
	if path, err := dirs.LinkLog(); err == nil {
		if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
			_ = os.Truncate(path, 0)
		}
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	programs, err := programs(program)
	if err != nil {
		return err
	}
	socket := filepath.Join(runtimeDir, link.SocketName)
	said := slog.New(slog.NewTextHandler(log, nil))
	inherited, err := link.TakeOver(ctx, socket)
	if err != nil {
		said.Warn("not all was taken over", "error", err)
	}
	l, err := unixsock.Listen(socket, 0o600)
	if err != nil {
		fmt.Fprintln(ready, err)
		return err
	}
	fmt.Fprintln(ready, link.Ready)
	ctx, stop := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() { laptop.TellOfJobs(ctx, said) })
	telling.Go(func() { guardMux(ctx) })
	defer telling.Wait()
	defer stop()
	return link.Serve(ctx, l, link.Config{
		Program: program, Node: plainNode(program), Socket: socket, Identity: link.Identity(program), Programs: programs,
		Options: sshconfig.FastCiphers, KnownHosts: sshconfig.KnownHostsFiles, IsHost: sshconfig.IsHost, Route: func(ctx context.Context, place keyway.Place) link.Route {
			return link.Route(sshconfig.RouteTo(ctx, place))
		},
		Next: nextOf, Log: said, Inherited: inherited,
	})
}

// programs returns the programs that can be sent to places: in a release, the embedded nodes;
// otherwise this program, for places of the same system and architecture.
func programs(self string) (link.Programs, error) {
	all := link.Programs{}
	for _, arch := range []string{"amd64", "arm64"} {
		if node, ok := assets.Node(arch); ok {
			all[arch] = link.Program{Hash: node.Hash, Open: func() (io.ReadCloser, int64, error) {
				return io.NopCloser(bytes.NewReader(node.Gzip)), int64(len(node.Gzip)), nil
			}}
		}
	}
	if plainNode(self) == "" {
		return all, nil
	}
	data, err := os.ReadFile(self)
	if err != nil {
		return nil, keyway.Errorf(keyway.Other, "the program cannot read itself: %w", err)
	}
	sum := sha256.Sum256(data)
	all[runtime.GOARCH] = link.Program{Hash: hex.EncodeToString(sum[:]), Open: func() (io.ReadCloser, int64, error) {
		var packed bytes.Buffer
		z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
		if err == nil {
			_, err = z.Write(data)
		}
		if err == nil {
			err = z.Close()
		}
		return io.NopCloser(&packed), int64(packed.Len()), err
	}}
	return all, nil
}
