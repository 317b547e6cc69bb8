package laptop

import (
	"cmp"
	"context"
	"os"
	"strings"
	"sync"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/link"
)

// LockWatch speaks for an agent that is locked or holds no key, once, where every
// place would ask for a passphrase or refuse.
type LockWatch struct {
	empty func() bool
	once  sync.Once
}

// WatchLock asks the agent when it first matters.
func (here *Laptop) WatchLock(ctx context.Context) *LockWatch {
	return &LockWatch{empty: sync.OnceValue(func() bool {
		socket := cmp.Or(here.AgentSocket(), os.Getenv("SSH_AUTH_SOCK"))
		return socket != "" && agentAnswers(ctx, socket) && listKeys(ctx, socket) != nil
	})}
}

var errLocked = keyway.Errorf(keyway.NoKey, "the agent is locked, or holds no key").Advise(keyway.UnlockKey)

// refuse refuses to ask for the passphrase of a key file, which would be asked
// once for every place, and has a command of its own. A question of a host begins with
// the host's name.
func (l *LockWatch) refuse(q api.Question) error {
	if q.Kind == "" && strings.HasPrefix(q.Prompt, link.KeyQuestion) && l.empty() {
		return errLocked
	}
	return nil
}

// Told reports whether a problem is that the agent is locked, and gives that to say
// when none has said it.
func (l *LockWatch) Told(p *keyway.Error) (told bool, say *keyway.Error) {
	if p.Kind != keyway.NoKey && p.Kind != keyway.Denied || !l.empty() {
		return false, nil // also where a place claims it
	}
	l.once.Do(func() { say = errLocked })
	return true, say
}
