package stream

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"time"
)

// attempt makes one path and attaches it.
func (cl *client) attempt(ctx context.Context) (*path, error) {
	conn, err := cl.cfg.Dial(ctx)
	if err != nil {
		return nil, err
	}
	release := guard(ctx, conn)
	cl.c.mu.Lock()
	opened := cl.c.wire.keys != nil
	cl.c.mu.Unlock()
	var p *path
	if opened {
		p, err = cl.resume(conn)
	} else {
		p, err = cl.open(conn)
	}
	release()
	if err != nil {
		conn.Close()
		if ctx.Err() != nil && !IsPermanent(err) {
			err = ctx.Err()
		}
		return nil, err
	}
	return p, nil
}

// guard closes conn if a handshake takes too long or ctx ends.
func guard(ctx context.Context, conn net.Conn) (release func()) {
	timer := time.AfterFunc(handshakeTime, func() { conn.Close() })
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return func() {
		timer.Stop()
		stop()
	}
}

// open requests a new stream. It does not wait for the answer, which the path's reader reads: the
// user's data may follow at once.
func (cl *client) open(conn net.Conn) (*path, error) {
	own, hello, err := newHello()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(hello.encode()); err != nil {
		return nil, err
	}
	p := newPath(cl.c, conn)
	p.greet = func() error {
		release := guard(cl.ctx, conn)
		defer release()
		return cl.greet(p, hello, func(a *opened) (*keys, error) { return deriveKeys(own, a.public, hello, a) })
	}
	cl.c.step(time.Now(), func() effects {
		cl.dialling = false
		if err = cl.c.wire.err; err != nil {
			return 0
		}
		cl.c.attach(p)
		return cl.c.wire.attach(0, smallWindow)
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// greet reads the answer to open. No data reaches the user before the host key has signed the
// answer.
func (cl *client) greet(p *path, hello *openHello, derive func(*opened) (*keys, error)) error {
	answer, err := readAnswer(p.conn, hello, cl.cfg.HostKey)
	if err != nil {
		return err
	}
	keys, err := derive(answer)
	if err != nil {
		return err
	}
	cl.opened(p, keys)
	return nil
}

func (cl *client) opened(p *path, keys *keys) {
	c, now := cl.c, time.Now()
	c.step(now, func() effects {
		if c.path != p || c.wire.err != nil {
			return 0
		}
		do := c.wire.opened(keys, now)
		c.log.Debug("stream opened", "stream", c.idString())
		return do
	})
}

// strangerError means that the refusal of an opened stream has a wrong signature. Any host on the
// route can send such a refusal, so it ends the path only.
type strangerError struct{}

func (strangerError) Error() string { return errViolation.Error() + ": refusal with a wrong signature" }

func (strangerError) Unwrap() error { return errViolation }

// readRefusal reads the reason for which the server refused hello. Only the host key can refuse:
// otherwise, any host on the route could end the stream with an invented answer.
func readRefusal(r io.Reader, hello []byte, key ed25519.PublicKey, opening bool) error {
	answer, err := readRefused(r)
	if err != nil {
		return err
	}
	if !verifyHello(key, labelRefused, hello, answer.signed(), answer.signature) {
		if opening {
			return ErrHostKey
		}
		return strangerError{}
	}
	if answer.code == CodeReset {
		return Permanent(&ResetError{answer.text}) // as if the RESET, which was lost with its path, had come
	}
	return &Refusal{Code: answer.code, Text: answer.text}
}

// resume continues the stream over conn.
func (cl *client) resume(conn net.Conn) (*path, error) {
	hello := cl.resumeHello()
	if _, err := conn.Write(hello.encode()); err != nil {
		return nil, err
	}
	answer, err := cl.readResumed(conn, hello)
	if errors.Is(err, strangerError{}) && cl.cfg.Stranger != nil {
		err = cmp.Or(cl.cfg.Stranger(cl.ctx), err)
	}
	if err != nil {
		return nil, err
	}
	m, err := cl.commit(hello, answer)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(m.encode()); err != nil {
		return nil, err
	}
	return cl.switchTo(conn, hello, answer)
}

func (cl *client) resumeHello() *resumeHello {
	var nonce [nonceLen]byte
	rand.Read(nonce[:])
	cl.c.mu.Lock()
	defer cl.c.mu.Unlock()
	return cl.c.wire.hello(nonce)
}

func (cl *client) readResumed(r io.Reader, hello *resumeHello) (*resumed, error) {
	kind, err := readKind(r)
	if err != nil {
		return nil, err
	}
	switch kind {
	case kindResumed:
	case kindRefused:
		return nil, readRefusal(r, hello.encode(), cl.cfg.HostKey, false)
	default:
		return nil, violation("answer of kind %d to resume", kind)
	}
	return readResumed(r)
}

// commit makes the message that moves the stream to the new path, if that is still wanted.
func (cl *client) commit(hello *resumeHello, answer *resumed) (*commit, error) {
	cl.c.mu.Lock()
	defer cl.c.mu.Unlock()
	if !cl.wanted() {
		return nil, context.Canceled
	}
	return cl.c.wire.commit(hello, answer)
}

// switchTo attaches the new path and then closes the old one.
func (cl *client) switchTo(conn net.Conn, hello *resumeHello, answer *resumed) (p *path, err error) {
	c, now := cl.c, time.Now()
	p = newPath(c, conn)
	var old *path
	c.step(now, func() effects {
		cl.dialling, cl.doubted = false, false
		if err = c.wire.err; err != nil {
			return 0
		}
		c.life.resume(now)
		old = c.attach(p)
		c.log.Debug("stream resumed", "stream", c.idString(), "epoch", hello.epoch)
		return c.wire.committed(answer, now)
	})
	if err != nil {
		return nil, err
	}
	if old != nil {
		old.close()
	}
	return p, nil
}
