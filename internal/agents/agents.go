// Package agents finds the agents of keyway that run beside the one that commands of this
// environment use. A command with another XDG_RUNTIME_DIR may have started such an agent. The
// package asks agents for their keys and makes them forget these; it starts and ends none.
package agents

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// patience bounds how long an agent may take to forget its keys. One that is stopped would
// take forever.
const patience = 5 * time.Second

// Others returns the sockets of those agents that run, other than the one at the path own.
func Others(own string) ([]string, error) {
	all, err := dirs.Agents()
	if err != nil {
		return nil, err
	}
	mine, none := os.Stat(own)
	var others []string
	for _, socket := range all {
		if is, err := os.Stat(socket); err == nil && (none != nil || !os.SameFile(mine, is)) && mayListen(socket) {
			others = append(others, socket)
		}
	}
	return others, nil
}

// Holding returns those of the others that hold a key, or do not tell.
func Holding(ctx context.Context, own string) ([]string, error) {
	others, err := Others(own)
	return slices.DeleteFunc(others, func(socket string) bool {
		_, exit, _ := ask(ctx, append(os.Environ(), "SSH_AUTH_SOCK="+socket), "-l")
		return exit == noKey
	}), err
}

// IsEmpty reports whether the agent that the environment names answers and shows no key:
// one that is locked (ssh-add -x) shows none.
func IsEmpty(ctx context.Context, environ []string) bool {
	_, exit, _ := ask(ctx, environ, "-l")
	return exit == noKey
}

// mayListen reports whether a process may listen at the socket; one that is stopped may, too.
func mayListen(socket string) bool {
	conn, err := unixsock.Dial(socket)
	if err == nil {
		conn.Close()
	}
	return !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist)
}

// Forget has the agent that the environment names and the others forget their keys. It returns
// the number of agents that did; the error names each that did not.
func Forget(ctx context.Context, environ, others []string) (forgot int, err error) {
	one := func(environ []string, who string) {
		said, exit, failed := ask(ctx, environ, "-D")
		switch {
		case failed == nil:
			forgot++
		case exit != noAgent && IsEmpty(ctx, environ):
			err = errors.Join(err, keyway.Errorf(keyway.NoKey, "the agent%s shows no key, and forgets none: it is locked with a passphrase of its own (ssh-add -x)", who))
		case who != "" || exit != noAgent || len(others) == 0:
			err = errors.Join(err, keyway.Errorf(keyway.NoKey, "the agent%s did not forget: %s", who, said))
		}
	}
	one(environ, "")
	for _, socket := range others {
		one(append(os.Environ(), "SSH_AUTH_SOCK="+socket), " at "+socket)
	}
	return forgot, err
}

// Exit statuses of ssh-add.
const (
	noKey   = 1
	noAgent = 2
)

// ask has ssh-add query one agent. exit is its exit status, or -1 if a signal ended it.
func ask(ctx context.Context, environ []string, option string) (said string, exit int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ssh-add", option)
	cmd.Env = environ
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return "it does not answer within " + patience.String(), -1, ctx.Err()
	}
	said, exit = strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
	if said == "" && err != nil {
		said = err.Error()
	}
	return said, exit, err
}
