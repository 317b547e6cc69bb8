//go:build linux

// Demo shows what keyway is for, for real and in a minute: a laptop, a bastion
// and a GPU machine behind it, each with stock OpenSSH only; one passphrase
// prompt; a container that ssh, scp and a training job reach; the bastion killed
// in the middle; a terminal found again as it was. It checks what it shows, exits with 1 if anything is not as it
// should be, and leaves nothing behind.
//
// With the argument notebook it shows that of a notebook: a cell whose page is closed
// and whose bastion is killed in the middle, and all of its output. With the argument
// pytorch it shows a training with PyTorch that is cut, found again and resumed.
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

// shows lists the demos, by the word for test/lab/install: the images of the GPU machine, none if
// it has no Docker, and the steps.
var shows = map[string]struct {
	images []lab.Image
	walk   func(*tour) error
}{
	"demo":     {[]lab.Image{lab.Base}, (*tour).walk},
	"notebook": {nil, (*tour).notebook},
	"pytorch":  {[]lab.Image{lab.Torch}, (*tour).pytorch},
}

func run(ctx context.Context) (err error) {
	show := "demo"
	if len(os.Args) > 1 {
		show = os.Args[1]
	}
	what, known := shows[show]
	if !known {
		return fmt.Errorf("there is nothing to show of %q", show)
	}
	if err := lab.Install(ctx, show); err != nil {
		return err
	}
	s := newScreen(os.Stdout)
	world, err := startWorld(ctx, s, what.images)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	if err := what.walk(&tour{ctx: ctx, lab: world, screen: s}); err != nil {
		return err
	}
	s.summary(len(world.Prompts()))
	return nil
}

// startWorld builds keyway and starts the three machines.
func startWorld(ctx context.Context, s *screen, images []lab.Image) (*lab.Lab, error) {
	var world *lab.Lab
	err := s.step("build keyway; start a laptop, a bastion and a GPU machine", func() error {
		var err error
		world, err = lab.Start(ctx, lab.Options{Docker: len(images) > 0, Images: images})
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
