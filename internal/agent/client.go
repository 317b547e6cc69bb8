package agent

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"keyway/internal/policy"
	"keyway/internal/sshwire"
	"keyway/internal/unixsock"
)

// ErrOtherAgent means that the agent is not keyway's.
var ErrOtherAgent = errors.New("the agent is not keyway's, or is locked")

// Client asks an agent on this machine what only keyway's agent can say.
type Client struct {
	conn net.Conn
	in   *bufio.Reader
}

// Dial reaches the agent at the socket.
func Dial(path string) (*Client, error) {
	conn, err := unixsock.Dial(path)
	if err != nil {
		return nil, err
	}
	return &Client{conn, bufio.NewReader(conn)}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Keys describes the keys that the agent holds.
func (c *Client) Keys(ctx context.Context) (keys []KeyInfo, err error) {
	return keys, c.ask(ctx, extKeys, nil, &keys)
}

// Questions waits for questions other than known and gives all that are open.
func (c *Client) Questions(ctx context.Context, known []uint64) (open []OpenQuestion, err error) {
	var body []byte
	for _, id := range known {
		body = sshwire.AppendUint32(body, uint32(id))
	}
	return open, c.ask(ctx, extQuestions, body, &open)
}

// Forget sets when keys are forgotten. warning is for the user; it may be empty.
func (c *Client) Forget(ctx context.Context, f policy.Forget) (warning string, err error) {
	var w Warning
	err = c.ask(ctx, extForget, sshwire.AppendString(nil, strings.Join(f.Words(), ",")), &w)
	return w.Warning, err
}

// Watch has the agent forget the key of a file when the file is removed.
func (c *Client) Watch(ctx context.Context, path string) error {
	return c.ask(ctx, extWatch, sshwire.AppendString(nil, path), &struct{}{})
}

// Shorten has the agent forget the key after life. It reports whether the agent will do so: a key
// that is forgotten sooner is not changed.
func (c *Client) Shorten(ctx context.Context, fingerprint string, life time.Duration) (bool, error) {
	var s Shortened
	body := sshwire.AppendUint32(sshwire.AppendString(nil, fingerprint), uint32(life/time.Second))
	err := c.ask(ctx, extLifetime, body, &s)
	return s.Done, err
}

// Answer answers a question.
func (c *Client) Answer(ctx context.Context, id uint64, a Answer) error {
	body, seconds := sshwire.AppendUint32(nil, uint32(id)), uint32(a.For/time.Second)
	if a.Ever {
		seconds = everSeconds
	}
	if a.Allow {
		body = append(body, 1)
	} else {
		body = append(body, 0)
	}
	return c.ask(ctx, extAnswer, sshwire.AppendUint32(body, seconds), &struct{}{})
}

// exchange sends a request and returns the answer. When ctx ends, so does the connection.
func (c *Client) exchange(ctx context.Context, request []byte) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.conn.Write(frame(request)); err != nil {
		return nil, err
	}
	answer, err := c.read()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return answer, err
}

// ask sends an extension request and decodes the answer.
func (c *Client) ask(ctx context.Context, name string, body []byte, into any) error {
	answer, err := c.exchange(ctx, append(sshwire.AppendString([]byte{msgExtension}, name), body...))
	if err != nil {
		return err
	}
	r := sshwire.NewReader(answer)
	if r.Byte() != msgExtResponse || r.Text() != name {
		return ErrOtherAgent
	}
	text := r.String()
	if err := r.End(); err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func (c *Client) read() ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(c.in, header[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(header[:])
	if n == 0 || n > maxMessage {
		return nil, fmt.Errorf("the agent answers with a message of %d bytes", n)
	}
	return readBody(c.in, int(n))
}
