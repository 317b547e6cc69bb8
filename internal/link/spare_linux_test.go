//go:build linux

package link

import (
	"context"
	"crypto/ed25519"
	"io"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"keyway/internal/keyway"
)

const testVersion = "SSH-2.0-Test_1.0\r\n"

// visits counts the streams that the guest has accepted.
func (w *world) visits() int { return int(w.guest.visits.Load()) }

// awaitSpare waits until there is a spare for the next ssh, and the guest has accepted that many
// streams.
func (w *world) awaitSpare(visits int) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s, err := w.client.Status(context.Background())
		if err != nil {
			w.t.Fatal(err)
		}
		if len(s.Places) == 1 && slices.Equal(s.Places[0].Spares, []keyway.Name{"train"}) && w.visits() >= visits {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatal("there was no spare within a minute")
		}
	}
}

// spared runs one ssh, and waits until there is a spare for the next.
func (w *world) spared() {
	w.t.Helper()
	before := w.visits()
	conn := w.ssh("train")
	echo(w.t, conn, testVersion)
	conn.Close()
	w.awaitSpare(before + 2)
}

// TestASpareIsThereForTheNext checks that the next ssh of the same version gets a stream on which
// the guest has already sent its version.
func TestASpareIsThereForTheNext(t *testing.T) {
	w := startWorld(t)
	w.spared()
	before := w.visits()
	for range 2 { // with its version alone, and with more data after it
		conn := w.ssh("train")
		echo(t, conn, testVersion+"and what follows")
		if got := w.visits(); got != before {
			t.Fatalf("the guest saw %d streams before the ssh, %d after it", before, got)
		}
		conn.Close()
		before++
		w.awaitSpare(before)
	}
}

// TestASpareForNobodyElse checks that no ssh gets a spare that may belong to another, or may be
// dead.
func TestASpareForNobodyElse(t *testing.T) {
	other, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	fits := func(change func(s *spare, c *proxied, at *time.Time)) bool {
		up := &connection{}
		u := &uplink{up: up}
		c := &proxied{uplink: u, hostKey: other}
		s := &spare{dialer: dialer{uplink: u}, conn: up, hostKey: other, version: testVersion, born: now}
		at := now.Add(time.Second)
		change(s, c, &at)
		return s.matches(c, testVersion, at)
	}
	if !fits(func(*spare, *proxied, *time.Time) {}) {
		t.Fatal("a good one does not fit")
	}
	for name, change := range map[string]func(s *spare, c *proxied, at *time.Time){
		"another version":       func(s *spare, _ *proxied, _ *time.Time) { s.version = "SSH-2.0-Test_1.1\r\n" },
		"the same without CR":   func(s *spare, _ *proxied, _ *time.Time) { s.version = "SSH-2.0-Test_1.0\n" },
		"no version":            func(s *spare, _ *proxied, _ *time.Time) { s.version = "" },
		"another host key":      func(_ *spare, c *proxied, _ *time.Time) { c.hostKey = make(ed25519.PublicKey, 32) },
		"another uplink":        func(_ *spare, c *proxied, _ *time.Time) { c.uplink.up = &connection{} },
		"no uplink":             func(s *spare, c *proxied, _ *time.Time) { c.uplink.up = nil },
		"old":                   func(_ *spare, _ *proxied, at *time.Time) { *at = now.Add(spareTime) },
		"from before the clock": func(_ *spare, _ *proxied, at *time.Time) { *at = now.Add(-time.Second) },
	} {
		if fits(change) {
			t.Errorf("%s: it fits", name)
		}
	}
}

// TestOthersPassASpareBy checks that an ssh of another version, one that sends something else, and
// one that first waits for the server are served without the spare.
func TestOthersPassASpareBy(t *testing.T) {
	w := startWorld(t)
	w.spared()
	for name, says := range map[string][]string{
		"another version": {"SSH-2.0-Other\r\n"},
		"in pieces":       {"SSH-2.0-", "Test_1.0\r\n"},
		"no SSH":          {"GET / HTTP/1.1\r\n\r\n"},
		"listens first":   {"", testVersion},
	} {
		before := w.visits()
		conn := w.ssh("train")
		for _, text := range says {
			if text == "" {
				time.Sleep(2 * versionTime)
				continue
			}
			echo(t, conn, text)
		}
		if got := w.visits(); got != before+1 {
			t.Errorf("%s: the guest saw %d streams before, %d after", name, before, got)
		}
		w.awaitSpare(before + 1)
	}
}

// TestADeadSpareIsForgotten checks that a spare whose uplink has died does not bring up another
// uplink. The next ssh does, and is served.
func TestADeadSpareIsForgotten(t *testing.T) {
	w := startWorld(t)
	w.spared()
	before := w.visits()
	if err := syscall.Kill(pid(t, w.node("gpu1")), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.await("down")
	conn := w.ssh("train")
	echo(t, conn, testVersion)
	if got := w.visits(); got != before+1 {
		t.Errorf("the guest saw %d streams before, %d after", before, got)
	}
}

// TestASpareInUseIsAStream checks that an ssh that uses a spare survives a dead uplink as any other
// does.
func TestASpareInUseIsAStream(t *testing.T) {
	w := startWorld(t)
	w.spared()
	conn := w.ssh("train")
	echo(t, conn, testVersion)
	for range 3 {
		if err := syscall.Kill(pid(t, w.node("gpu1")), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		echo(t, conn, "and on")
	}
	w.end()
	w.serve() // the link has ended, and the spare with it
	if _, err := io.ReadAll(conn); err != nil {
		t.Error(err)
	}
}

// TestASpareInUseMoves checks that a link that is replaced hands over a spare that an ssh uses, and
// drops unused spares.
func TestASpareInUseMoves(t *testing.T) {
	w := startWorld(t)
	w.spared()
	conn := w.ssh("train")
	echo(t, conn, testVersion)
	first := w.ended
	w.client.rt.CloseIdleConnections()
	w.serve()
	if err := <-first; err != nil {
		t.Error(err)
	}
	echo(t, conn, "and on")
}

// TestNobodyIsWarnedOfASparesEnd checks that the end of a spare is reported only to the connection
// that uses it.
func TestNobodyIsWarnedOfASparesEnd(t *testing.T) {
	var said strings.Builder
	s := &spare{}
	log := spareLog{s, slog.New(slog.NewTextHandler(&said, nil))}
	log.Warn("stream ended", "reason", errSpareLost)
	if said.Len() > 0 {
		t.Errorf("of one that nobody has taken: %s", &said)
	}
	s.user.Store(&proxied{})
	log.Warn("stream ended", "reason", errSpareLost)
	if !strings.Contains(said.String(), "level=WARN") {
		t.Errorf("of one in use: %q", &said)
	}
}
