//go:build linux

package sftp

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"golang.org/x/sys/unix"

	"keyway/internal/sshwire"
)

// flushSize is the number of bytes of answers that are sent at once while requests wait: four
// full packets of SSH, where a read of 32 KiB alone would take one and a bit.
const flushSize = 128 << 10

// Config is whom a client works as.
type Config struct {
	User string // the user's name
	Home string // what ~ stands for; relative paths are meant from the process's own directory

	// CopyID is called when the client is taken for ssh-copy-id -s, and its write is refused; nil:
	// no client is refused.
	CopyID func()
}

// Serve answers the requests that rw brings, until the client has no more, which
// is no error, or breaks the protocol (*ProtocolError), or rw fails. Files that
// the client has left open are closed. Serve ends when rw does; the end of ctx
// alone cuts long copies short.
func Serve(ctx context.Context, rw io.ReadWriter, cfg Config) error {
	s := &session{ctx: ctx, cfg: cfg, client: rw}
	defer s.closeAll()
	err := s.serve()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return errors.Join(err, s.flush())
}

// session is one client.
type session struct {
	ctx     context.Context
	cfg     Config
	client  io.ReadWriter
	version uint32 // the client's; 0 before it has said so
	out     []byte // answers that have not been sent
	handles handles
	keys    string // the file of keys in a directory that was closed to others last; see open
}

func (s *session) serve() error {
	in := bufio.NewReader(answering{s})
	var message []byte
	for {
		var err error
		if message, err = readMessage(in, message); err != nil {
			return err
		}
		if err = s.answer(message); err != nil {
			return err
		}
		if len(s.out) >= flushSize {
			if err = s.flush(); err != nil {
				return err
			}
		}
	}
}

// answering reads from the client. A read may wait for the client, and the
// client for its answers: they are sent first.
type answering struct{ s *session }

func (a answering) Read(p []byte) (int, error) {
	if err := a.s.flush(); err != nil {
		return 0, err
	}
	return a.s.client.Read(p)
}

func (s *session) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.client.Write(s.out)
	s.out = s.out[:0]
	return err
}

// readMessage reads a message without its length, into buf if it is large enough.
func readMessage(in io.Reader, buf []byte) ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(header[:])
	if n == 0 || n > maxMessage {
		return nil, violation("a message of %d bytes", n)
	}
	buf = slices.Grow(buf[:0], int(n))[:n]
	_, err := io.ReadFull(in, buf)
	return buf, err
}

// answer executes a request, and appends the answer to s.out.
func (s *session) answer(message []byte) error {
	f := &fields{Reader: sshwire.NewReader(message)}
	kind := f.Byte()
	if kind == fxpInit {
		return s.init(f)
	}
	id, do := f.Uint32(), requests[kind]
	if kind == fxpExtended {
		do = extended(f.name())
	}
	switch {
	case s.version == 0:
		return violation("a request before the version")
	case f.err() != nil:
		return f.err()
	case do == nil:
		return nil // there is no answer to a message that is no request
	}
	return s.reply(id, do, f)
}

// handler does what one kind of request asks for. It reads the fields, appends the body of its
// answer to s.out and returns the answer's kind; or an error, which replaces the body that it has
// appended.
type handler func(s *session, f *fields) (kind byte, err error)

// headerSize is the part of an answer before its body: length, kind and id.
const headerSize = 4 + 1 + 4

func (s *session) reply(id uint32, do handler, f *fields) error {
	start := len(s.out)
	s.out = append(s.out, make([]byte, headerSize)...)
	kind, err := do(s, f)
	var broken *ProtocolError
	if errors.As(err, &broken) {
		s.out = s.out[:start]
		return err
	}
	if err != nil || kind == fxpStatus {
		kind = fxpStatus
		s.out = s.appendStatus(s.out[:start+headerSize], err)
	}
	header := s.out[start:]
	binary.BigEndian.PutUint32(header, uint32(len(header)-4))
	header[4] = kind
	binary.BigEndian.PutUint32(header[5:], id)
	return nil
}

func (s *session) appendStatus(b []byte, err error) []byte {
	code := statusOf(err)
	b = sshwire.AppendUint32(b, uint32(code))
	if s.version < 3 {
		return b
	}
	b = sshwire.AppendString(b, code.Error())
	return sshwire.AppendString(b, "") // the language
}

// init answers the client's version with ours and the extensions.
func (s *session) init(f *fields) error {
	version := f.Uint32()
	if err := f.err(); err != nil {
		return err
	}
	s.version = max(version, 1)
	start := len(s.out)
	s.out = append(s.out, 0, 0, 0, 0, fxpVersion)
	s.out = sshwire.AppendUint32(s.out, protocolVersion)
	for _, e := range extensions {
		s.out = sshwire.AppendString(s.out, e.name)
		s.out = sshwire.AppendString(s.out, e.version)
	}
	binary.BigEndian.PutUint32(s.out[start:], uint32(len(s.out)-start-4))
	return nil
}

// requests are those of the draft, by their kind.
var requests = [256]handler{
	fxpOpen:     (*session).open,
	fxpClose:    onHandle((*session).close),
	fxpRead:     (*session).read,
	fxpWrite:    (*session).write,
	fxpLstat:    onName(statWith(unix.Lstat)),
	fxpFstat:    onHandle((*session).fstat),
	fxpSetstat:  (*session).setstat,
	fxpFsetstat: (*session).fsetstat,
	fxpOpendir:  onName((*session).opendir),
	fxpReaddir:  onHandle((*session).readdir),
	fxpRemove:   onName(doing(unix.Unlink)),
	fxpMkdir:    withAttributes(mkdir),
	fxpRmdir:    onName(doing(unix.Rmdir)),
	fxpRealpath: onName((*session).realpath),
	fxpStat:     onName(statWith(unix.Stat)),
	fxpRename:   onNames(rename),
	fxpReadlink: onName((*session).readlink),
	fxpSymlink:  onNames(unix.Symlink),
}

// onName returns the handler of a request with one name.
func onName(do func(s *session, name string) (byte, error)) handler {
	return func(s *session, f *fields) (byte, error) {
		name := f.name()
		if err := f.err(); err != nil {
			return 0, err
		}
		return do(s, name)
	}
}

// onNames returns the handler of a request with two names and no answer but its status.
func onNames(do func(from, to string) error) handler {
	return func(_ *session, f *fields) (byte, error) {
		from, to := f.name(), f.name()
		if err := f.err(); err != nil {
			return 0, err
		}
		return fxpStatus, do(from, to)
	}
}

// onHandle returns the handler of a request with one handle. h is nil if there
// is no such handle.
func onHandle(do func(s *session, h *handle) (byte, error)) handler {
	return func(s *session, f *fields) (byte, error) {
		h := s.handles.find(f.String())
		if err := f.err(); err != nil {
			return 0, err
		}
		return do(s, h)
	}
}

// withAttributes returns the handler of a request with a name and attributes
// and no answer but its status.
func withAttributes(do func(name string, a attributes) error) handler {
	return func(_ *session, f *fields) (byte, error) {
		name, a := f.name(), f.attributes()
		if err := f.err(); err != nil {
			return 0, err
		}
		return fxpStatus, do(name, a)
	}
}

// doing makes a handler of a request that takes a name and is answered by a status.
func doing(do func(name string) error) func(*session, string) (byte, error) {
	return func(_ *session, name string) (byte, error) { return fxpStatus, do(name) }
}
