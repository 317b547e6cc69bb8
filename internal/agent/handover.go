package agent

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/identity"
	"keyway/internal/policy"
	"keyway/internal/sshwire"
)

// The state that an agent hands to the process that takes its place has the keys with their
// constraints, the lock, the user's answers, the triggers, and each connection with its binds. A
// connection that was left out could connect again and seem local. Smart cards are not handed over,
// because their helpers need the PIN.

// handoverVersion changes when the form does: of another one nothing is taken.
const handoverVersion = 1

// ErrHandover means that this version cannot take the state over.
var ErrHandover = errors.New("the state that is handed over cannot be read")

// HandOver returns the state of a frozen agent, which the caller must overwrite, and the
// connections that belong to it, in order. They are the caller's to close.
func (a *Agent) HandOver() (state []byte, conns []*os.File, err error) {
	a.noteRefusals(true)
	a.settle()
	a.mu.Lock()
	defer a.mu.Unlock()
	w := []byte{handoverVersion}
	w = appendUint64(w, a.connections.Load())
	if w, err = a.appendSettings(w); err != nil {
		return nil, nil, err
	}
	for c := range a.open {
		f, err := c.file()
		if err != nil {
			continue // it has ended
		}
		conns = append(conns, f)
		w = c.append(w)
	}
	w = sshwire.AppendString(w, "") // no connection is that short
	w, err = a.keys.append(w)
	return w, conns, err
}

// appendSettings must be called under the agent's lock.
func (a *Agent) appendSettings(w []byte) ([]byte, error) {
	s := settings{Logins: a.logins.export(), Near: []uint64{}}
	for c := range a.open {
		if !c.route.far {
			s.Near = append(s.Near, c.number)
		}
	}
	a.questions.mu.Lock()
	s.Grants, s.NextID = a.questions.given, a.questions.nextID
	a.questions.mu.Unlock()
	a.away.mu.Lock()
	s.Told, s.LastUse = a.away.told, a.away.lastUse
	a.away.mu.Unlock()
	a.unlogged.mu.Lock()
	s.Unlogged = a.unlogged.unloggedCount
	a.unlogged.mu.Unlock()
	a.files.mu.Lock()
	defer a.files.mu.Unlock()
	s.Files = a.files.keys
	text, err := json.Marshal(s)
	return sshwire.AppendString(w, text), err
}

// settings are the parts of the state that are not secret.
type settings struct {
	Grants  []policy.Grant
	NextID  uint64
	Told    *policy.Forget
	LastUse time.Duration
	Files   map[string]*keyFile
	Logins  signedLogins
	// Near are the connections through the socket for this machine. Earlier versions
	// do not name them, so all of theirs that are remote count as far.
	Near []uint64
	// Unlogged counts the events that could not be logged yet.
	Unlogged unloggedCount
}

func appendUint64(w []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(w, n) }

func readUint64(r *sshwire.Reader) uint64 { return uint64(r.Uint32())<<32 | uint64(r.Uint32()) }

func appendBool(w []byte, b bool) []byte {
	if b {
		return append(w, 1)
	}
	return append(w, 0)
}

func (c *connection) file() (*os.File, error) {
	f, ok := c.conn.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, errors.New("a connection without a descriptor")
	}
	return f.File()
}

// append adds the proofs on the connection, as one string.
func (c *connection) append(w []byte) []byte {
	var b []byte
	b = appendUint64(b, c.number)
	b = appendBool(b, c.route.remote)
	b = sshwire.AppendString(b, c.route.untrusted)
	b = sshwire.AppendUint32(b, uint32(c.refusals))
	for _, bind := range c.route.binds {
		b = sshwire.AppendString(b, bind.message)
	}
	return sshwire.AppendString(w, b)
}

// restore reads it. Binds are verified again.
func (c *connection) restore(data []byte) error {
	r := sshwire.NewReader(data)
	c.number, c.route.remote, c.route.untrusted = readUint64(r), r.Byte() != 0, r.Text()
	c.refusals = int(r.Uint32())
	for r.More() {
		b, err := parseBind(sshwire.NewReader(r.String()))
		if err != nil {
			return err
		}
		if c.route.binds, err = addBind(c.route.binds, b); err != nil {
			return err
		}
	}
	return r.End()
}

// append adds the lock and the keys.
func (k *keyring) append(w []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expireLocked()
	w = appendBool(w, k.locked)
	w = sshwire.AppendString(w, k.salt[:])
	w = sshwire.AppendString(w, k.hash)
	for _, h := range k.keys {
		if h.shared {
			continue // of a card
		}
		err := h.key.Export(func(raw []byte) {
			w = grow(w, len(raw)+maxMessage)
			w = h.append(w, raw)
		})
		if err != nil {
			return w, err
		}
	}
	return w, nil
}

// grow makes room without leaving bytes of keys behind.
func grow(w []byte, n int) []byte {
	if cap(w)-len(w) >= n {
		return w
	}
	larger := make([]byte, len(w), 2*cap(w)+n)
	copy(larger, w)
	clear(w)
	return larger
}

func (h *held) append(w, raw []byte) []byte {
	w = sshwire.AppendString(w, raw)
	var cert []byte
	if h.key.Certificate() != nil {
		cert = h.key.Blob
	}
	w = sshwire.AppendString(w, cert)
	w = sshwire.AppendString(w, h.key.Comment)
	w = sshwire.AppendString(w, h.key.Provider)
	w = appendUint64(w, uint64(h.dies))
	w = appendBool(w, h.confirm)
	w = appendBool(w, h.limited)
	w = sshwire.AppendUint32(w, h.signsLeft)
	return sshwire.AppendString(w, h.restriction)
}

// TakeOver makes the state of another agent, with its connections, that of this
// one, which has none yet. Resume serves the connections.
func (a *Agent) TakeOver(state []byte, conns []net.Conn) error {
	r := sshwire.NewReader(state)
	if r.Byte() != handoverVersion {
		return ErrHandover
	}
	a.connections.Store(readUint64(r))
	var s settings
	if err := json.Unmarshal(r.String(), &s); err != nil {
		return fmt.Errorf("%w: %w", ErrHandover, err)
	}
	a.questions.given, a.questions.nextID = s.Grants, s.NextID
	maps.DeleteFunc(s.Files, func(_ string, f *keyFile) bool { return f == nil })
	a.away.told, a.away.lastUse, a.files.keys = s.Told, s.LastUse, s.Files
	a.unlogged.unloggedCount = s.Unlogged
	a.logins.take(s.Logins)
	for {
		data := r.String()
		if r.Err() != nil {
			return ErrHandover
		}
		if len(data) == 0 {
			break
		}
		if len(conns) == 0 {
			return fmt.Errorf("%w: a connection is missing", ErrHandover)
		}
		if err := a.takeConnection(conns[0], data, s.Near); err != nil {
			return err
		}
		conns = conns[1:]
	}
	return a.keys.restore(r)
}

// takeConnection closes the connection if its former state cannot be restored.
func (a *Agent) takeConnection(conn net.Conn, data []byte, near []uint64) error {
	c := &connection{agent: a, conn: conn, in: bufio.NewReader(conn), parked: true}
	c.touch()
	peer, err := peerOf(conn)
	if err == nil {
		c.peer = peer
		err = c.restore(data)
		c.route.far = c.route.remote && !slices.Contains(near, c.number)
	}
	if err != nil {
		conn.Close()
		return err
	}
	c.remote = c.route.remote
	a.open[c] = struct{}{}
	return nil
}

func (k *keyring) restore(r *sshwire.Reader) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.locked = r.Byte() != 0
	copy(k.salt[:], r.String())
	k.hash = bytes.Clone(r.String())
	for r.More() {
		h, err := readHeld(r)
		if err != nil {
			return err
		}
		k.keys = append(k.keys, h)
	}
	return r.End()
}

func readHeld(r *sshwire.Reader) (*held, error) {
	key, err := identity.ReadPrivate(sshwire.NewReader(r.String()))
	if err != nil {
		return nil, err
	}
	h := &held{}
	cert, comment, provider := r.String(), r.Text(), r.Text()
	h.dies, h.confirm, h.limited = time.Duration(readUint64(r)), r.Byte() != 0, r.Byte() != 0
	h.signsLeft, h.restriction = r.Uint32(), bytes.Clone(r.String())
	err = r.Err()
	if err == nil && len(h.restriction) > 0 {
		h.destinations, err = parseDestinations(h.restriction)
	}
	if err == nil && provider != "" {
		err = key.SetProvider(provider)
	}
	if err == nil && len(cert) > 0 && !bytes.Equal(cert, key.Blob) {
		key, err = withCertificate(key, cert)
	}
	if err != nil {
		key.Destroy()
		return nil, err
	}
	key.Comment, h.key = comment, key
	return h, nil
}

// withCertificate returns key presenting the certificate. If that fails, it returns key
// unchanged.
func withCertificate(key *identity.Key, blob []byte) (*identity.Key, error) {
	public, err := identity.ParsePublic(blob)
	if err != nil {
		return key, err
	}
	cert, ok := public.(*ssh.Certificate)
	if !ok {
		return key, errors.New("a plain key in the place of a certificate")
	}
	with, err := key.WithCertificate(cert)
	if err != nil {
		return key, err
	}
	return with, nil
}
