//go:build linux

package mux

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"keyway/internal/mux/stdio"
	"keyway/internal/pipe"
)

// opened is a session channel of a guest.
type opened struct {
	ssh.Channel
	requests <-chan *ssh.Request
}

// session is one session of a client.
type session struct {
	guest         *guest
	channel       opened
	ask           sessionRequest
	in, out, errs *stdio.End
	size          stdio.Window // under the guest's lock
	over          func()       // called when it has ended, before the client is told
	answer        *waiter
	farewell      func(reason string) // tells the client why the session has ended without an exit status
}

// buffers have the size of the payload of one SSH packet, in bytes.
var buffers = pipe.Buffers{Size: 32 << 10}

// begin sends all requests at once, followed by the first input. It reports whether that was all of
// the input. A guest of keyway's accepts every command, and reports errors by the exit status; it
// may refuse only a subsystem.
func (s *session) begin() (ended bool, err error) {
	buf := buffers.Get()
	defer buffers.Put(buf)
	s.guest.wire.together(func() {
		if err = s.prepare(); err != nil {
			return
		}
		if s.ask.agent {
			if _, err = s.channel.SendRequest("auth-agent-req@openssh.com", false, nil); err != nil {
				return
			}
		}
		if s.ask.subsystem {
			return
		}
		if s.request(); s.ask.tty {
			return
		}
		var n int
		if n, ended = s.in.First(*buf); n > 0 {
			_, err = s.channel.Write((*buf)[:n])
		}
		if ended && err == nil {
			err = s.channel.CloseWrite()
		}
	})
	if err == nil && s.ask.subsystem {
		kind, payload := s.program()
		var ok bool
		var asked error
		switch {
		case !s.answer.during(s.guest, func() { ok, asked = s.channel.SendRequest(kind, true, payload) }, nil):
			return false, errSilent
		case asked != nil:
			return false, asked
		case !ok:
			return false, errRefused
		}
		s.guest.answered(s.answer)
	}
	return ended, err
}

// request requests the program, and returns when the request has been written or held. What is
// written next comes after it. The answer shows that the guest has the session: until then, the
// session may be abandoned.
func (s *session) request() {
	kind, payload := s.program()
	s.guest.wire.written(func() {
		_, _ = s.channel.SendRequest(kind, true, payload)
		s.guest.answered(s.answer)
	}, s.guest.work.Go)
}

// prepare requests a terminal and sends variables.
func (s *session) prepare() error {
	if s.ask.tty {
		s.guest.mu.Lock()
		s.size = s.in.Window()
		size := s.size
		s.guest.mu.Unlock()
		_, err := s.channel.SendRequest("pty-req", false, ssh.Marshal(struct {
			Term                         string
			Columns, Rows, Width, Height uint32
			Modes                        []byte
		}{s.ask.term, size.Columns, size.Rows, size.Width, size.Height, s.in.Modes()}))
		if err != nil {
			return err
		}
	}
	for _, kv := range s.ask.env {
		name, value, ok := strings.Cut(kv, "=")
		if !ok {
			continue
		}
		if _, err := s.channel.SendRequest("env", false, ssh.Marshal(struct{ Name, Value string }{name, value})); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) program() (kind string, payload []byte) {
	command := ssh.Marshal(struct{ Command string }{s.ask.command})
	switch {
	case s.ask.subsystem:
		return "subsystem", command
	case s.ask.command == "":
		return "shell", nil
	}
	return "exec", command
}

// run carries the session until it or the client ends. conn is the connection of the client. The
// client is released at once: calls that wait for the guest then continue without it.
func (s *session) run(conn net.Conn, ended bool) {
	work := &s.guest.work
	var outputs sync.WaitGroup
	outputs.Go(func() { s.print(s.out, s.channel, true) })
	outputs.Go(func() { s.print(s.errs, s.channel.Stderr(), false) })
	if !ended {
		work.Go(s.feed)
	}
	gone := make(chan struct{})
	work.Go(func() { // a client that sends no more ends its session
		awaitEnd(conn)
		s.out.Stop()
		s.errs.Stop()
		s.in.Stop()
		close(gone)
		s.channel.Close()
	})
	over := make(chan outcome, 1)
	work.Go(func() {
		e := s.exit()
		outputs.Wait()
		over <- e
	})
	select {
	case e := <-over:
		s.in.Stop()
		s.channel.Close()
		if e.exited {
			s.over()
			_, _ = conn.Write(message("", sayExit, sessionNumber, e.status))
		} else if s.guest.wire.broke() {
			s.farewell("")
		}
	case why := <-s.answer.abandoned:
		s.farewell(why + "\n" + mayRun)
	case <-gone:
	}
	conn.Close()
	<-gone
}

// mayRun tells the user of a session without an answer that its outcome is unknown: the answer may
// have been lost. What has not begun does not begin later, as the guest sees the channel's end.
const mayRun = "what was asked for may have begun there before the connection was lost"

// outcome is the end of a session: with an exit status if exited.
type outcome struct {
	status uint32
	exited bool
}

// print copies output to the client. When its reader has gone, print tells the guest, so that the
// program ends as it would in a pipeline.
func (s *session) print(to *stdio.End, from io.Reader, standard bool) {
	in := pipe.Inlet{Buffers: &buffers}
	defer in.Shrink()
	for broken := false; ; {
		b, err := in.Read(from)
		if len(b) > 0 && !broken {
			if _, werr := to.Write(b); werr != nil {
				broken = true
				if standard {
					_, _ = s.channel.SendRequest("eow@openssh.com", false, nil)
				}
			}
		}
		if err != nil {
			return
		}
	}
}

// feed copies the client's input.
func (s *session) feed() {
	in := pipe.Inlet{Buffers: &buffers}
	defer in.Shrink()
	var typed *stdio.Escapes
	if s.ask.tty && s.ask.escape != noEscape {
		typed = &stdio.Escapes{Char: byte(s.ask.escape), Command: s.command}
	}
	for {
		b, err := in.Read(s.in)
		end := false
		if typed != nil {
			b, end = typed.Read(b)
		}
		if len(b) > 0 {
			if _, err := s.channel.Write(b); err != nil {
				return
			}
			s.guest.wire.flush() // no keystroke waits for another session
		}
		if end {
			s.channel.Close()
			return
		}
		if err != nil {
			_ = s.channel.CloseWrite()
			return
		}
	}
}

// command executes an escape sequence that does not end the session.
func (s *session) command(char, c byte) {
	switch c {
	case 'B':
		_, _ = s.channel.SendRequest("break", false, ssh.Marshal(struct{ Milliseconds uint32 }{stdio.BreakTime}))
		s.guest.wire.flush()
	case '?':
		_, _ = fmt.Fprintf(s.errs, stdio.EscapeHelp, char)
	default:
		_, _ = fmt.Fprintf(s.errs, "%c%s does nothing on a shared connection\r\n", char, stdio.Caret(c))
	}
}

// awaitEnd returns when the other end sends no more. It uses little memory meanwhile.
func awaitEnd(conn net.Conn) {
	var b [64]byte
	for {
		if _, err := conn.Read(b[:]); err != nil {
			return
		}
	}
}

// exit answers the guest's requests until the channel has ended.
func (s *session) exit() (e outcome) {
	for req := range s.channel.requests {
		if req.Type == "exit-status" && len(req.Payload) == 4 {
			e = outcome{binary.BigEndian.Uint32(req.Payload), true}
		}
		_ = req.Reply(false, nil)
	}
	return e
}
