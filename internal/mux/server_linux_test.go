package mux

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/agent"

	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// serving returns a Server that reaches no workspace, and a channel that is closed when the Server
// ends.
func serving(t *testing.T, idle time.Duration) (dir string, asked *atomic.Int32, ended chan struct{}) {
	t.Helper()
	dir, asked, ended = t.TempDir(), new(atomic.Int32), make(chan struct{})
	s, err := NewServer(Config{
		Dir: dir, Identity: "this build", Log: slog.New(slog.DiscardHandler), Idle: idle,
		Dial: func(context.Context, keyway.Name) (Target, error) {
			asked.Add(1)
			return Target{}, errors.New("not there")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(ended)
		s.Serve(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return dir, asked, ended
}

func TestAMuxMakesWayForAnotherBuild(t *testing.T) {
	dir, asked, ended := serving(t, time.Hour)
	for range 3 {
		if !Ask(dir, "this build", "train") {
			t.Fatal("the mux of this build does not answer")
		}
	}
	if Ask(dir, "another build", "train") {
		t.Error("a mux of another build answers as this one's")
	}
	<-ended
	if Ask(dir, "this build", "train") {
		t.Error("a mux that has ended answers")
	}
	if n := asked.Load(); n > 1 { // it is not tried again after a failure
		t.Errorf("the workspace was tried %d times", n)
	}
}

func TestAMuxSaysWhyItIsNotReady(t *testing.T) {
	dir, _, _ := serving(t, time.Hour)
	if why := Why(dir, "this build", "train"); why != "" {
		t.Errorf("before anybody has asked: %q", why)
	}
	Ask(dir, "this build", "train")
	for deadline := time.Now().Add(time.Minute); Why(dir, "this build", "train") != "not there"; {
		if time.Now().After(deadline) {
			t.Fatalf("it says %q", Why(dir, "this build", "train"))
		}
		time.Sleep(time.Millisecond)
	}
	if why := Why(dir, "another build", "train"); why != "" || !Ask(dir, "this build", "train") {
		t.Errorf("a question of another build is answered with %q, or ends the mux", why)
	}
}

// plainAgent answers as an agent without keyway's extensions.
type plainAgent struct{ agent.ExtendedAgent }

func (plainAgent) Extension(string, []byte) ([]byte, error) {
	return nil, agent.ErrExtensionUnsupported
}

func TestAnotherAgentIsNamed(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	p := &permit{conn: near, agent: plainAgent{}}
	if err := p.ask(os.Getpid()); !errors.Is(err, errOtherAgent) {
		t.Errorf("it says %v", err)
	}
}

// TestAConnectionIsReplacedBeforeItsKeysChange checks that the mux replaces a connection that has
// carried many bytes before its keys change, and that the old one keeps its sessions.
func TestAConnectionIsReplacedBeforeItsKeysChange(t *testing.T) {
	var asked atomic.Int32
	s, err := NewServer(Config{
		Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
		Dial: func(context.Context, keyway.Name) (Target, error) {
			asked.Add(1)
			return Target{}, errors.New("not there")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.door.Close()
	listen := func() *net.UnixListener {
		l, err := unixsock.Listen(filepath.Join(s.cfg.Dir, "train"), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	near, far := net.Pipe()
	defer near.Close()
	go func() { _, _ = io.Copy(io.Discard, far) }() // until near is closed
	w := &workspace{name: "train", server: s, listener: listen()}
	s.ready[w.name] = w
	wire := &observed{Conn: near, soon: func() { s.replace(w) }}
	for _, c := range []struct {
		moved int64 // before a write
		asked int32
	}{{0, 0}, {renewAfter - 2, 0}, {renewAfter - 1, 1}, {rekeyAfter, 1}} {
		wire.moved.Store(c.moved)
		if _, err := wire.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		if n := asked.Load(); n != c.asked {
			t.Fatalf("after %d bytes another was asked for %d times", c.moved+1, n)
		}
	}
	if _, err := os.Stat(filepath.Join(s.cfg.Dir, "train")); !os.IsNotExist(err) {
		t.Errorf("new sessions still come to it: %v", err)
	}
	if all := s.all(); len(all) != 1 || all[0] != w {
		t.Errorf("its sessions are forgotten: %v", all)
	}
	// It does not affect the next one.
	next := &workspace{name: "train", server: s, listener: listen()}
	defer next.listener.Close()
	s.ready[w.name] = next
	s.replace(w)
	w.retire()
	if _, err := os.Stat(filepath.Join(s.cfg.Dir, "train")); err != nil || s.ready["train"] != next {
		t.Errorf("the next one is gone: %v", err)
	}
}

func TestAMuxThatNobodyUsesEnds(t *testing.T) {
	_, _, ended := serving(t, 10*time.Millisecond)
	<-ended
}

func TestTheLinkLeadsToAMuxAlone(t *testing.T) {
	runtime := t.TempDir()
	link := filepath.Join(runtime, "mux")
	if pid := current(runtime, link); pid != 0 {
		t.Errorf("no link leads to %d", pid)
	}
	for _, target := range []string{"/proc/1/cwd", cwdOf(os.Getpid()), "/proc/self/cwd", "elsewhere"} {
		_ = os.Remove(link)
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if pid := current(runtime, link); pid != 0 {
			t.Errorf("%s is taken for the mux %d", target, pid)
		}
	}
	gone := filepath.Join(runtime, homePrefix+"999999999")
	if err := os.Mkdir(gone, 0o700); err != nil {
		t.Fatal(err)
	}
	sweep(runtime)
	if _, err := os.Stat(gone); !os.IsNotExist(err) {
		t.Errorf("the directory of a mux that has ended: %v", err)
	}
}
