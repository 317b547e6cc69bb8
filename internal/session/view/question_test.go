//go:build linux

package view

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keyway/internal/session/wire"
)

// TestAnswersToCtrlC checks that a kill prints how long it takes, that a second one kills at once,
// and that a user that detaches in between gets no message that the job continues.
func TestAnswersToCtrlC(t *testing.T) {
	var sent bytes.Buffer
	conn := &wire.Connection{Peer: wire.NewPeer(&sent)}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	q := &question{name: "train/x", out: w}
	for _, key := range "skkl" {
		q.key, q.open = key, make(chan struct{})
		if leave := q.settle(conn); leave != (key == 'l') {
			t.Errorf("%c leaves: %v", key, leave)
		}
	}
	w.Close()
	said, _ := io.ReadAll(r)
	want := []string{"stop: SIGINT is sent; if it goes on: Ctrl-C, k", "kill within 10s; at once: Ctrl-C, k", "kill now", "leave", ""}
	if got := strings.Split(string(said), "\r\n"); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	peer := wire.NewPeer(&sent)
	for _, want := range []wire.Message{wire.Signal{Number: byte(unix.SIGINT)}, wire.End{GraceMillis: 10_000}, wire.End{}} {
		if got, err := peer.Read(); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	for killed, want := range map[bool]string{false: "[detached; the job goes on as train/x", true: "[detached; train/x is being killed]"} {
		if got := left(t, outcome{detached: true, killed: killed}); !strings.Contains(got, want) {
			t.Errorf("killed %v: %q", killed, got)
		}
	}
}

// left returns the message to a user that detaches.
func left(t *testing.T, out outcome) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := &Process{In: r, Out: w, Err: w}
	c.Workspace = "train"
	if code, err := c.conclude(Viewing{Name: "x"}, c.Terminal(false), out); code != 0 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
	w.Close()
	said, _ := io.ReadAll(r)
	return string(said)
}
