package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"

	"keyway/internal/sshwire"
)

// maxLogins bounds the sessions that are remembered for askers on this machine, and, separately,
// those for remote ones, so that remote askers cannot displace the others.
const maxLogins = 1024

// logins are the sessions in which this agent has signed a login, each with the host that the
// session leads to. A host between the first and the last of a route is believed only if its
// session is among them: a session that its key has signed shows that some client connected to it,
// and not that the user is logged in there.
type logins struct {
	mu            sync.Mutex
	local, remote sessions
}

// sessions forgets the oldest first.
type sessions struct {
	known map[string]bool
	order []string
}

func (s *sessions) add(id string) {
	if s.known[id] {
		return
	}
	if s.known == nil {
		s.known = map[string]bool{}
	}
	if len(s.order) >= maxLogins {
		delete(s.known, s.order[0])
		s.order = s.order[1:]
	}
	s.known[id] = true
	s.order = append(s.order, id)
}

// sessionOf identifies the session of a bind, with its host.
func sessionOf(b bind) string {
	return string(sshwire.AppendString(sshwire.AppendString(nil, b.session), b.blob))
}

// signed remembers that a login was signed for the session of b.
func (l *logins) signed(b bind, remote bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if remote {
		l.remote.add(sessionOf(b))
		return
	}
	l.local.add(sessionOf(b))
}

// has reports whether a login was signed for the session of b.
func (l *logins) has(b bind) bool { return l != nil && (l.hasLocal(b) || l.hasRemote(b)) }

// hasLocal is has for logins that a program on this machine asked for.
func (l *logins) hasLocal(b bind) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.local.known[sessionOf(b)]
}

func (l *logins) hasRemote(b bind) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.remote.known[sessionOf(b)]
}

// signedLogins is the part of the state that one agent hands over to the next.
type signedLogins struct {
	Local, Remote [][]byte
}

func (l *logins) export() (s signedLogins) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range l.local.order {
		s.Local = append(s.Local, []byte(id))
	}
	for _, id := range l.remote.order {
		s.Remote = append(s.Remote, []byte(id))
	}
	return s
}

func (l *logins) take(s signedLogins) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range s.Local {
		l.local.add(string(id))
	}
	for _, id := range s.Remote {
		l.remote.add(string(id))
	}
}

// routeOf returns a short name for a list of sessions. Equal lists have the same name.
func routeOf(binds []bind) string {
	if len(binds) == 0 {
		return ""
	}
	h := sha256.New()
	for _, b := range binds {
		h.Write(sshwire.AppendString(nil, []byte(sessionOf(b))))
	}
	return hex.EncodeToString(h.Sum(nil))
}
