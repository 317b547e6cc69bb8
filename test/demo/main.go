//go:build linux

// Demo shows what keyway is for, for real and in a minute: a laptop, a bastion
// and a GPU machine behind it, each with stock OpenSSH only; one passphrase
// prompt; a container that ssh, scp and a training job reach; the bastion killed
// in the middle; a terminal found again as it was. It checks what it shows, exits with 1 if anything is not as it
// should be, and leaves nothing behind.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"keyway/test/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "demo: interrupted; nothing is left")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	if err := lab.Install(ctx, "demo"); err != nil {
		return err
	}
	s := newScreen(os.Stdout)
	world, err := startWorld(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	t := &tour{ctx: ctx, lab: world, screen: s}
	t.chooseEngine()
	if err := t.walk(); err != nil {
		return err
	}
	s.summary(len(world.Prompts()))
	return nil
}

// startWorld builds keyway and starts the three machines.
func startWorld(ctx context.Context, s *screen) (*lab.Lab, error) {
	var world *lab.Lab
	err := s.step("build keyway; start a laptop, a bastion and a GPU machine", func() error {
		var err error
		world, err = lab.Start(ctx, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
		return err
	})
	if err != nil {
		return nil, err
	}
	if world.Mode == lab.Namespaces {
		s.note("the machines are kept apart by %s; the GPU machine answers the bastion only", world.Mode)
	} else {
		s.note("namespaces are not permitted here: the machines are sshds on %s, with home directories of their own", world.Mode)
	}
	return world, nil
}
