package main

import (
	"cmp"
	"context"
	"io"
	"os"
	"strings"
	"sync"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// lockWatch speaks for an agent that is locked or holds no key, once, where every
// place would ask for a passphrase or refuse.
type lockWatch struct {
	empty func() bool
	once  sync.Once
}

// watchLock asks the agent when it first matters.
func (a *app) watchLock(ctx context.Context) *lockWatch {
	return &lockWatch{empty: sync.OnceValue(func() bool {
		socket := cmp.Or(a.agentSocket(), os.Getenv("SSH_AUTH_SOCK"))
		return socket != "" && agentAnswers(ctx, socket) && listKeys(ctx, socket) != nil
	})}
}

var errLocked = keyway.Errorf(keyway.NoKey, "the agent is locked, or holds no key").Hint("unlock your key: keyway unlock")

// refuse refuses to ask for the passphrase of a key file, which would be asked
// once for every place, and has a command of its own.
func (l *lockWatch) refuse(q api.Question) error {
	if q.Kind == "" && strings.Contains(q.Prompt, "passphrase for key") && l.empty() {
		return errLocked
	}
	return nil
}

// told reports whether a problem is that the agent is locked, and says so if it
// has not been said yet.
func (l *lockWatch) told(p *keyway.Error, stderr io.Writer) bool {
	if p.Kind != keyway.NoKey && p.Kind != keyway.Denied || !l.empty() {
		return false // also where a place claims it
	}
	l.once.Do(func() { complain(stderr, errLocked) })
	return true
}
