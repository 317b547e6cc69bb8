package mux

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/proctree"
	"keyway/internal/unixsock"
)

// childEnv makes the test's program a mux of the kind that the value names.
const childEnv = "KEYWAY_TEST_MUX"

func TestMain(m *testing.M) {
	if kind := os.Getenv(childEnv); kind != "" {
		if err := beMux(kind); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// beMux serves below the working directory until standard input ends.
func beMux(kind string) error {
	dir := filepath.Join(homeOfTests(), homePrefix+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	s, err := NewServer(Config{Dir: dir, Identity: "this build", Log: slog.New(slog.DiscardHandler),
		Dial: func(context.Context, keyway.Name) (Target, error) { return Target{}, net.ErrClosed }})
	if err != nil {
		return err
	}
	switch kind {
	case "locked": // without end
		s.mu.Lock()
		fallthrough
	case "well":
		go s.Serve(context.Background()) // ends with the process
	case "deaf": // accepts no connection
	}
	fmt.Println("here")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func homeOfTests() string { return os.Getenv("XDG_RUNTIME_DIR") }

// startMux starts a mux. The symbolic link, if it is set, leads to it. dead is closed when the mux
// has ended.
func startMux(t *testing.T, runtime, link, kind string) (pid int, dead chan struct{}) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+kind, "XDG_RUNTIME_DIR="+runtime)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	dead = make(chan struct{})
	go func() { _ = cmd.Wait(); close(dead) }()
	t.Cleanup(func() { in.Close(); _ = cmd.Process.Kill(); <-dead })
	if line != "here\n" {
		t.Fatalf("a mux says %q", line)
	}
	if link != "" {
		_ = os.Remove(link)
		if err := os.Symlink(cwdOf(cmd.Process.Pid), link); err != nil {
			t.Fatal(err)
		}
	}
	return cmd.Process.Pid, dead
}

// TestGuardEndsAMuxThatHangs checks that the guard kills a mux that is deadlocked, does not listen,
// or is stopped, and no mux that answers.
func TestGuardEndsAMuxThatHangs(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var guards sync.WaitGroup
	defer guards.Wait()
	defer cancel()
	must := func(what string, dead chan struct{}) {
		t.Helper()
		select {
		case <-dead:
		case <-time.After(time.Minute):
			t.Errorf("%s lives", what)
		}
	}
	well := t.TempDir()
	link := filepath.Join(well, "mux")
	old, oldDead := startMux(t, well, "", "well")
	_, wellDead := startMux(t, well, link, "well")
	guards.Go(func() { guard(ctx, well, link, time.Second) })
	if err := unix.Kill(old, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	must("a stopped mux that another has followed", oldDead)
	for _, kind := range []string{"locked", "deaf"} {
		runtime := t.TempDir()
		link := filepath.Join(runtime, "mux")
		_, dead := startMux(t, runtime, link, kind)
		guards.Go(func() { guard(ctx, runtime, link, 300*time.Millisecond) })
		must("a "+kind+" mux", dead)
	}
	select {
	case <-wellDead:
		t.Error("a mux that answers is dead")
	default:
	}
}

// TestConnectionThatHangs checks that a connection counts as hanging if input waits on it and no
// goroutine reads it. A connection without input, and one that is read, do not.
func TestConnectionThatHangs(t *testing.T) {
	var idle, read, late unread
	for i := range int64(100) {
		if idle.look(7, false) || read.look(i, true) || late.look(i/maxUnread+1, true) {
			t.Fatalf("after %d looks", i)
		}
	}
	l, err := unixsock.Listen(filepath.Join(t.TempDir(), "guest"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := unixsock.Dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	wire := &observed{Conn: near, finished: true}
	done := make(chan struct{})
	soon := time.AfterFunc(20*time.Millisecond, func() { close(done) })
	defer soon.Stop()
	if wire.awaitStuck(done, time.Millisecond) {
		t.Error("a connection without input hangs")
	}
	if _, err := far.Write([]byte("nobody reads this")); err != nil {
		t.Fatal(err)
	}
	never := make(chan struct{})
	bound := time.AfterFunc(time.Minute, func() { close(never) })
	defer bound.Stop()
	if !wire.awaitStuck(never, time.Millisecond) {
		t.Error("input that nobody reads is not seen")
	}
}

// TestAMuxEndsWithAConnectionThatHangs checks that a connection that hangs ends the mux, whatever
// waits for it.
func TestAMuxEndsWithAConnectionThatHangs(t *testing.T) {
	s, err := NewServer(Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	hangs, ended := make(chan struct{}), make(chan struct{})
	defer close(hangs)
	s.work.Go(func() { <-hangs })
	go func() { s.Serve(context.Background()); close(ended) }()
	s.breakOff("train")
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("it serves on")
	}
}

// isHeld reports whether a process has a descriptor whose events the kernel reports by a signal.
func isHeld(pid int) bool {
	all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	for _, path := range all {
		text, _ := os.ReadFile(path)
		var pos, flags int
		if n, _ := fmt.Sscanf(string(text), "pos: %d\nflags: %o", &pos, &flags); n == 2 && flags&unix.O_ASYNC != 0 {
			return true
		}
	}
	return false
}

// TestAMuxGoesOnWithoutItsGuard checks that a stopped mux continues after the end of the process
// that guarded it.
func TestAMuxGoesOnWithoutItsGuard(t *testing.T) {
	runtime := t.TempDir()
	pid, _ := startMux(t, runtime, filepath.Join(runtime, "mux"), "well")
	h := hold(pid)
	defer h.Close()
	await := func(what string, is func(pid int) bool, want bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); is(pid) != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %t", what, !want)
			}
		}
	}
	await("held", isHeld, true)
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await("stopped", proctree.IsStopped, true)
	h.Close()
	await("stopped", proctree.IsStopped, false)
	if !answers(pid, time.Minute) {
		t.Error("it does not answer any more")
	}
}
