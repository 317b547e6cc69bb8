//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"keyway/test/lab/labtool/config"
)

// runInit is the first process of a host: it makes the host's mounts, says
// "ready", and then only reaps what is left to it. It ends when its standard
// input does, and with it, as process 1, everything in the host.
func runInit(args []string) error {
	if len(args) != 1 || os.Getpid() != 1 {
		return errors.New("init wants a configuration and to be process 1")
	}
	var c config.Init
	if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
		return err
	}
	if err := setUp(c); err != nil {
		return err
	}
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	// Ends with the process.
	go reap(children)
	fmt.Println("ready")
	untilEOF()
	return nil
}

func setUp(c config.Init) error {
	// Mounts made here must not appear in the former namespace.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Sethostname([]byte(c.Hostname)); err != nil {
		return fmt.Errorf("hostname: %w", err)
	}
	for _, m := range c.Mounts {
		if err := mount(m); err != nil {
			return err
		}
	}
	return nil
}

func mount(m config.Mount) error {
	var err error
	switch m.Type {
	case "bind":
		err = unix.Mount(m.Source, m.Target, "", unix.MS_BIND|unix.MS_REC, "")
	case "overlay":
		err = mountOverlay(m)
	default:
		err = unix.Mount(m.Type, m.Target, m.Type, 0, m.Data)
	}
	if err != nil {
		return fmt.Errorf("mount %s at %s: %w", m.Type, m.Target, err)
	}
	return nil
}

// mountOverlay makes Target writable, on a tmpfs at Source: a writable layer on
// a file system that is an overlay itself is not possible.
func mountOverlay(m config.Mount) error {
	if err := unix.Mount("tmpfs", m.Source, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	upper, work := filepath.Join(m.Source, "upper"), filepath.Join(m.Source, "work")
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	data := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", m.Target, upper, work)
	return unix.Mount("overlay", m.Target, "overlay", 0, data)
}

// reap collects every process that ends, as the first process must.
func reap(children <-chan os.Signal) {
	for range children {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if pid <= 0 && !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
}
