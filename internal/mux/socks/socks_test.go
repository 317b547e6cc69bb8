package socks

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// dialogue is a client that has sent all its messages already.
type dialogue struct {
	io.Reader
	answer bytes.Buffer
}

func (d *dialogue) Write(p []byte) (int, error) { return d.answer.Write(p) }

func TestSOCKS(t *testing.T) {
	const method5, granted4, granted5 = "\x05\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00", "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	for _, c := range []struct {
		name, said      string
		to              Target
		before, granted string // before and after the target is reached
	}{
		{"4", "\x04\x01\x00\x50\x0a\x00\x00\x01me\x00", Target{"10.0.0.1", 80}, "", granted4},
		{"4a", "\x04\x01\x00\x50\x00\x00\x00\x01\x00db.lab\x00", Target{"db.lab", 80}, "", granted4},
		{"5, an IPv4 address", "\x05\x01\x00\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50", Target{"10.0.0.1", 80}, method5, granted5},
		{"5, a name", "\x05\x02\x00\x02\x05\x01\x00\x03\x06db.lab\x15\x38", Target{"db.lab", 5432}, method5, granted5},
		{"5, an IPv6 address", "\x05\x01\x00\x05\x01\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x00\x50", Target{"::1", 80}, method5, granted5},
	} {
		d := &dialogue{Reader: strings.NewReader(c.said)}
		to, granted, err := Read(d)
		if err != nil || to != c.to || string(granted) != c.granted || d.answer.String() != c.before {
			t.Errorf("%s: %+v, %q, %v, answered %q", c.name, to, granted, err, d.answer.String())
		}
		for n := range c.said {
			if to, _, err := Read(&dialogue{Reader: strings.NewReader(c.said[:n])}); err == nil {
				t.Errorf("%s: %d bytes of it lead to %+v", c.name, n, to)
			}
		}
	}
	for name, said := range map[string]string{
		"version 3":          "\x03\x01\x00\x50\x0a\x00\x00\x01\x00",
		"HTTP":               "GET / HTTP/1.1\r\n\r\n",
		"4, bind":            "\x04\x02\x00\x50\x0a\x00\x00\x01\x00",
		"5, bind":            "\x05\x01\x00\x05\x02\x00\x01\x0a\x00\x00\x01\x00\x50",
		"5, no such kind":    "\x05\x01\x00\x05\x01\x00\x02\x0a\x00\x00\x01\x00\x50",
		"5, an empty name":   "\x05\x01\x00\x05\x01\x00\x03\x00\x00\x50",
		"4, an endless user": "\x04\x01\x00\x50\x0a\x00\x00\x01" + strings.Repeat("a", 1000) + "\x00",
	} {
		if to, _, err := Read(&dialogue{Reader: strings.NewReader(said)}); err == nil {
			t.Errorf("%s leads to %+v", name, to)
		}
	}
}

func FuzzSOCKS(f *testing.F) {
	f.Add([]byte("\x04\x01\x00\x50\x00\x00\x00\x01\x00db.lab\x00"))
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x06db.lab\x00\x50"))
	f.Fuzz(func(t *testing.T, said []byte) {
		to, _, err := Read(&dialogue{Reader: bytes.NewReader(said)})
		if err == nil && (to.Port > 65535 || len(to.Host) > maxWord+1) {
			t.Errorf("%+v", to)
		}
	})
}
