//go:build linux

// Package lab starts a small real world for tests, the demo and the measurements, and removes it at
// the end: a laptop, a bastion and a GPU machine, each with its own network, processes, mounts,
// /etc and home directories. The GPU machine can be reached from the bastion only. Both have a
// stock sshd, and the GPU machine has a dockerd of its own, with images made from what this machine
// has. Begin with Start.
//
// Everything is in namespaces and one temporary directory, and each host ends with the pipe that
// its first process reads. So a lab whose program is killed leaves no process and no mount. Where
// namespaces are not permitted, the three hosts are sshds and home directories on loopback (see
// Mode).
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Mode says how the hosts are separated.
type Mode string

// The modes.
const (
	Namespaces Mode = "network namespaces"
	Loopback   Mode = "loopback addresses"
)

// Options select the parts of a lab. The zero Options is three hosts and their sshds.
type Options struct {
	// Bin is the directory with the programs that Build made; it is the laptop's
	// /usr/local/bin. Empty: they are built into the lab.
	Bin string
	// Docker starts a dockerd on the GPU machine, with these images in it.
	Docker bool
	Images []Image
	// Loopback does without namespaces even where they are permitted.
	Loopback bool
	// Say gets messages about the progress; it may be nil.
	Say func(format string, args ...any)
}

// Lab is a running world. Its methods may be called concurrently, except Close.
type Lab struct {
	Mode                 Mode
	Laptop, Bastion, GPU *Host
	Bin                  string
	// Passphrase opens the laptop's key.
	Passphrase string
	// DockerError is why Docker could not be started although it was requested.
	DockerError error

	dir      string
	lock     *os.File
	say      func(string, ...any)
	docker   *daemon
	images   []Image // those that were made
	closeNow []func() error
}

const dirPrefix = "keyway-lab-"

// Start makes a lab. If it fails or ctx ends before it is up, nothing is left.
func Start(ctx context.Context, o Options) (_ *Lab, err error) {
	l := &Lab{Bin: o.Bin, Passphrase: "correct horse battery staple", say: o.Say}
	if l.say == nil {
		l.say = func(string, ...any) {}
	}
	if err := l.makeDir(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if l.Bin == "" {
		l.Bin = filepath.Join(l.dir, "bin")
		if err := Build(ctx, l.Bin); err != nil {
			return nil, err
		}
	}
	if err := l.startHosts(o.Loopback); err != nil {
		return nil, err
	}
	if err := l.startSSH(); err != nil {
		return nil, err
	}
	if o.Docker {
		l.DockerError = l.startDocker(ctx, o.Images)
	}
	return l, ctx.Err()
}

// startHosts starts them in namespaces, or on loopback where that is not
// permitted.
func (l *Lab) startHosts(loopback bool) error {
	if !loopback {
		err := l.startNamespaces()
		if err == nil {
			l.Mode = Namespaces
			return nil
		}
		if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EACCES) {
			return err
		}
		l.say("namespaces are not permitted here (%v): using loopback", err)
		if err := l.closeAll(); err != nil {
			return err
		}
	}
	l.Mode = Loopback
	return l.startLoopback()
}

// Close ends everything that the lab started and removes all it made.
func (l *Lab) Close() error {
	err := l.closeAll()
	if rmErr := os.RemoveAll(l.dir); rmErr != nil {
		err = errors.Join(err, rmErr)
	}
	return errors.Join(err, l.lock.Close())
}

// closeAll undoes all completed steps, the latest first.
func (l *Lab) closeAll() error {
	var err error
	for i := len(l.closeNow) - 1; i >= 0; i-- {
		err = errors.Join(err, l.closeNow[i]())
	}
	l.closeNow = nil
	return err
}

// OnClose has f called before the machines end.
func (l *Lab) OnClose(f func() error) { l.onClose(f) }

func (l *Lab) onClose(f func() error) { l.closeNow = append(l.closeNow, f) }

// makeDir makes the lab's directory, with a lock that says it is in use, and
// removes those of labs that were killed.
func (l *Lab) makeDir() error {
	sweep()
	dir, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	l.dir, l.lock = dir, lock
	return nil
}

// sweep removes the directories of labs that were killed. Their processes and mounts have ended
// with them.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range dirs {
		lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
		if err != nil {
			continue // being made, being removed, or not ours
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
			_ = removeCgroups(filepath.Base(dir))
		}
		lock.Close()
	}
}

// Dir returns the lab's own directory on this machine, for logs and the like.
func (l *Lab) Dir() string { return l.dir }

// Hosts returns the lab's three hosts.
func (l *Lab) Hosts() []*Host { return []*Host{l.Laptop, l.Bastion, l.GPU} }

func (l *Lab) errorf(format string, args ...any) error {
	return fmt.Errorf("lab: "+format, args...)
}
