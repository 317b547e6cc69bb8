//go:build linux

package view

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/creack/pty"

	"keyway/internal/session/wire"
)

// A window that is closed reads as ended; the job must not take that for Ctrl-D.
func TestAClosedWindowIsNoEndOfInput(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	var sent bytes.Buffer
	f := forward{conn: &wire.Connection{Peer: wire.NewPeer(&sent)}, in: slave, cut: new(bool), escapes: new(escapes)}
	f.finish(io.EOF)
	if sent.Len() == 0 {
		t.Error("Ctrl-D on a terminal is not passed on")
	}
	sent.Reset()
	master.Close()
	if n, err := slave.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("a closed window reads as %d, %v", n, err)
	}
	f.finish(io.EOF)
	if sent.Len() > 0 {
		t.Errorf("a closed window sends %q", sent.Bytes())
	}
}
