package mux

import (
	"bytes"
	"slices"
	"testing"

	"keyway/internal/sshwire"
)

// encode returns a request as OpenSSH sends it, without its length.
func (q request) encode() []byte {
	b := sshwire.AppendUint32(sshwire.AppendUint32(nil, q.kind), q.id)
	appendTarget := func(t target) { b = sshwire.AppendUint32(sshwire.AppendString(b, t.host), t.port) }
	switch q.kind {
	case askOpen, askClose:
		b = sshwire.AppendUint32(b, q.forward.kind)
		appendTarget(q.forward.listen)
		appendTarget(q.forward.connect)
		return b
	case askStdio:
		b = sshwire.AppendString(b, "")
		appendTarget(q.target)
		return b
	case askSession:
	default:
		return b
	}
	b = sshwire.AppendString(b, "")
	for _, flag := range []bool{q.session.tty, q.session.x11, q.session.agent, q.session.subsystem} {
		n := uint32(0)
		if flag {
			n = 1
		}
		b = sshwire.AppendUint32(b, n)
	}
	b = sshwire.AppendUint32(b, q.session.escape)
	b = sshwire.AppendString(sshwire.AppendString(b, q.session.term), q.session.command)
	for _, kv := range q.session.env {
		b = sshwire.AppendString(b, kv)
	}
	return b
}

var aRequest = request{kind: askSession, id: 7, session: sessionRequest{
	tty: true, subsystem: true, escape: '~', term: "xterm", command: "sftp", env: []string{"LANG=C", "LC_X="},
}}

func TestRequests(t *testing.T) {
	whole := aRequest.encode()
	got, err := parseRequest(whole)
	if err != nil || !bytes.Equal(got.encode(), whole) {
		t.Fatalf("%+v, %v", got, err)
	}
	for n := range whole {
		if n == 8 || n == len(whole)-len("LC_X=")-4 || n == len(whole)-len("LC_X=")-4-len("LANG=C")-4 {
			continue // a kind and a number alone, or whole variables
		}
		if q, err := parseRequest(whole[:n]); err == nil && q.kind == askSession {
			t.Errorf("%d of %d bytes are %+v", n, len(whole), q)
		}
	}
	many := request{kind: askSession, session: sessionRequest{env: slices.Repeat([]string{"A=B"}, maxVariables+1)}}
	if _, err := parseRequest(many.encode()); err == nil {
		t.Error("any number of variables is taken")
	}
	if q, err := parseRequest((request{kind: askAlive, id: 3}).encode()); err != nil || q.kind != askAlive || q.id != 3 {
		t.Errorf("%+v, %v", q, err)
	}
}

func TestForwardRequests(t *testing.T) {
	for _, q := range []request{
		{kind: askOpen, id: 1, forward: forwardRequest{forwardLocal, target{"", 8080}, target{"localhost", 80}}},
		{kind: askOpen, id: 2, forward: forwardRequest{forwardRemote, target{"/tmp/s", onPath}, target{"::1", 80}}},
		{kind: askClose, id: 3, forward: forwardRequest{forwardDynamic, target{"*", 1080}, target{}}},
		{kind: askStdio, id: 4, target: target{"db", 5432}},
	} {
		whole := q.encode()
		if got, err := parseRequest(whole); err != nil || !bytes.Equal(got.encode(), whole) {
			t.Errorf("%+v is read as %+v, %v", q, got, err)
		}
		for n := 8; n < len(whole); n++ {
			if got, err := parseRequest(whole[:n]); err == nil {
				t.Errorf("%d of %d bytes are %+v", n, len(whole), got)
			}
		}
		if got, err := parseRequest(append(whole, 0)); err == nil {
			t.Errorf("a byte more is %+v", got)
		}
	}
	for _, kind := range []uint32{0, 4} {
		if got, err := parseRequest((request{kind: askOpen, forward: forwardRequest{kind: kind}}).encode()); err == nil {
			t.Errorf("kind %d: %+v", kind, got)
		}
	}
}

func TestHello(t *testing.T) {
	hello := func(kind, version uint32, more ...string) []byte {
		b := sshwire.AppendUint32(sshwire.AppendUint32(nil, kind), version)
		for _, m := range more {
			b = sshwire.AppendString(b, m)
		}
		return b
	}
	for _, c := range []struct {
		name string
		body []byte
		ok   bool
	}{
		{"OpenSSH's", hello(msgHello, 4), true},
		{"with an extension", hello(msgHello, 4, "name", "value"), true},
		{"of an older version", hello(msgHello, 3), false},
		{"of another kind", hello(askSession, 4), false},
		{"half an extension", hello(msgHello, 4, "name"), false},
		{"nothing", nil, false},
	} {
		if err := parseHello(c.body); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestMessagesAreBounded(t *testing.T) {
	if _, err := readMessage(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff})); err == nil {
		t.Error("a message of 4 GiB is taken")
	}
	if body, err := readMessage(bytes.NewReader(message("why", sayDenied, 9))); err != nil || len(body) != 8+4+3 {
		t.Errorf("%q, %v", body, err)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(aRequest.encode())
	f.Add(sshwire.AppendUint32(sshwire.AppendUint32(nil, msgHello), protocolVersion))
	f.Add((request{kind: askOpen, forward: forwardRequest{forwardLocal, target{"", 8080}, target{"localhost", 80}}}).encode())
	f.Add((request{kind: askStdio, target: target{"db", 5432}}).encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = parseHello(data)
		q, err := parseRequest(data)
		if err != nil {
			return
		}
		again, err := parseRequest(q.encode())
		if err != nil || !bytes.Equal(again.encode(), q.encode()) {
			t.Errorf("%+v is read as %+v, %v", q, again, err)
		}
	})
}

// FuzzObserved feeds a server's side of a key exchange, in two pieces.
func FuzzObserved(f *testing.F) {
	packet := func(payload []byte) []byte {
		const padding = 4
		b := sshwire.AppendUint32(nil, uint32(1+len(payload)+padding))
		return append(append(append(b, padding), payload...), make([]byte, padding)...)
	}
	reply := []byte{msgKexECDHReply}
	for _, s := range []string{"key", "share", "signature"} {
		reply = sshwire.AppendString(reply, s)
	}
	whole := slices.Concat([]byte("SSH-2.0-x\r\n"), packet([]byte{20}), packet(reply), packet([]byte{msgNewKeys}))
	f.Add(whole, 20)
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		at = max(0, min(at, len(data)))
		var one, two observed
		one.observe(data)
		two.observe(data[:at])
		if !two.finished {
			two.observe(data[at:])
		}
		if !bytes.Equal(one.signature(), two.signature()) {
			t.Errorf("%q or %q", one.signature(), two.signature())
		}
		if bytes.Equal(data, whole) && string(one.signature()) != "signature" {
			t.Errorf("%q", one.signature())
		}
		if len(one.buf) > maxHandshake+len(data) {
			t.Errorf("%d bytes are kept", len(one.buf))
		}
	})
}
