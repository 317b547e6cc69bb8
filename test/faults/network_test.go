//go:build linux

package faults

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"testing"
	"time"

	"keyway/test/lab"
)

// shell is an ssh that stays, with a shell that answers.
type shell struct {
	w     *world
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Scanner
	n     int
}

func (w *world) openShell() *shell {
	w.t.Helper()
	cmd := w.command("ssh", train, "sh")
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		w.t.Fatal(err)
	}
	s := &shell{w: w, cmd: cmd, stdin: stdin, out: bufio.NewScanner(stdout)}
	w.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	s.answers()
	return s
}

// say types a command whose answer is a unique number.
func (s *shell) say() {
	s.n++
	fmt.Fprintf(s.stdin, "echo answer $((%d * 7))\n", s.n)
}

// answers types a command and waits for the answer.
func (s *shell) answers() {
	s.w.t.Helper()
	s.say()
	s.heard()
}

func (s *shell) heard() {
	s.w.t.Helper()
	want := fmt.Sprintf("answer %d", s.n*7)
	timer := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	if !s.out.Scan() || s.out.Text() != want {
		s.w.t.Fatalf("the shell says %q, %v; want %q", s.out.Text(), s.out.Err(), want)
	}
}

// during runs the two copies at the same time, and faults as soon as both have begun to move bytes.
// All must succeed.
func (w *world) during(s sample, faults func()) {
	w.t.Helper()
	works := copies(s, "big")
	w.prepare(works)
	before := w.moved()
	var all sync.WaitGroup
	for _, x := range works {
		all.Go(func() {
			if err := x.once(w); err != nil {
				w.t.Errorf("%s: %v", x.name, err)
			}
		})
	}
	w.await("the copies move", func() bool { n := w.moved(); return n > 0 && n > before+1<<20 })
	faults()
	all.Wait()
}

// await polls, because no event announces the awaited changes.
func (w *world) await(what string, is func() bool) {
	w.t.Helper()
	for begin := time.Now(); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			w.t.Fatalf("in a minute not: %s", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func medium(t *testing.T) sample {
	t.Helper()
	s, err := newSample(t.Name(), 500<<20)
	must(t, err)
	return s
}

// TestAddressChange moves the laptop to other networks and back during copies in both directions
// and a shell.
func TestAddressChange(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{})
	s := medium(t)
	w.put(s, "big")
	sh := w.openShell()
	home := w.Laptop.Address
	w.during(s, func() {
		for _, address := range []string{"10.78.1.5", "10.78.2.6", home} {
			must(t, w.Move(w.Laptop, w.Bastion, address))
			sh.answers()
		}
	})
	sh.answers()
}

// TestFrozenNetwork drops all packets for 25 s during copies in both directions, with a shell in
// use and one that is idle.
func TestFrozenNetwork(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{})
	s := medium(t)
	w.put(s, "big")
	used, idle := w.openShell(), w.openShell()
	w.during(s, func() {
		must(t, w.Cut(w.Laptop, w.Bastion))
		used.say()
		time.Sleep(25 * time.Second)
		must(t, w.Restore(w.Laptop, w.Bastion))
		used.heard()
	})
	idle.answers()
}

// TestProxyFaults applies each fault of connections to the one between laptop and bastion, one
// after the other, during two copies and a shell.
func TestProxyFaults(t *testing.T) {
	t.Parallel()
	var p *lab.Proxy
	w := start(t, lab.Options{}, func(w *world) {
		var err error
		p, err = w.Proxy(w.Bastion)
		must(t, err)
	})
	s := medium(t)
	w.put(s, "big")
	sh := w.openShell()
	w.during(s, func() {
		for _, fault := range []struct {
			name string
			do   func()
			ends bool // the connection must be replaced
		}{
			{"cut", func() { p.Cut() }, true},
			{"reset", func() { p.Reset() }, true},
			{"a wrong bit up", func() { p.Spoil(lab.Up) }, true},
			{"a wrong bit down", func() { p.Spoil(lab.Down) }, true},
			{"slow", func() { p.Slow(lab.Up, 1<<20); p.Slow(lab.Down, 1<<20) }, false},
			{"nothing goes up any more", func() { p.Deaden(lab.Up) }, true},
			{"nothing comes down any more", func() { p.Deaden(lab.Down) }, true},
			{"the next connection is overtaken", func() {
				n := p.Accepted()
				p.Overtake()
				p.Cut()
				w.await("the link's ssh connects", func() bool { return p.Accepted() > n })
				w.must("ssh", "gpu1", "true") // accepted later, and connected earlier
			}, true},
			{"cut, and nobody can connect for 3 s", func() {
				p.Refuse(true)
				p.Cut()
				time.Sleep(3 * time.Second)
				p.Refuse(false)
			}, true},
		} {
			before, begin := p.Accepted(), time.Now()
			fault.do()
			sh.answers()
			n := p.Accepted() - before
			t.Logf("%s: went on after %v, %d connections", fault.name, time.Since(begin).Round(time.Millisecond), n)
			if fault.ends && n == 0 {
				t.Errorf("%s: no new connection", fault.name)
			}
			p.Flow(lab.Up)
			p.Flow(lab.Down)
		}
	})
	sh.answers()
}
