//go:build linux

package words

import (
	"crypto/md5"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"keyway/internal/session"
	"keyway/internal/session/holder"
)

// nextVersion returns another program than the holders run, with the same behaviour.
func nextVersion(t *testing.T) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	path := filepath.Join(t.TempDir(), "next")
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestARenewedHolderLosesNothing(t *testing.T) {
	l := newLab(t)
	fifo := l.fifo()
	const lines = 60_000
	script := fmt.Sprintf(`seq %d; read word <%s; echo "got $word"; echo err >&2; exit 9`, lines, fifo)
	var printed strings.Builder
	for i := range lines {
		fmt.Fprintln(&printed, i+1)
	}
	want := "err\n" + printed.String() + "got word\n"
	next := []string{nextVersion(t), nextVersion(t)}
	for _, flag := range []string{"-T", "-t"} {
		l.ok("run", "-d", flag, "--as", "x", "--", "sh", "-c", script)
		waiting, following := l.start("wait", "x"), l.start("logs", "-f", "x")
		before := l.session("x")
		for n := range 6 {
			if err := holder.Renew(l.home, next[n%2]); err != nil {
				t.Fatal(err)
			}
			if !runsProgram(before.Holder, next[n%2]) {
				t.Fatal("the holder is not the new program")
			}
		}
		if now := l.session("x"); now.Holder != before.Holder || now.Job != before.Job || now.Status != session.Running {
			t.Errorf("%s: %+v became %+v", flag, before, now)
		}
		l.writeFifo(fifo, "word\n")
		if code := waiting.wait(); code != 9 {
			t.Errorf("%s: wait: exit code %d", flag, code)
		}
		following.wait()
		r := l.keyway("logs", "x")
		got := r.err + r.out
		if flag == "-t" {
			got = "err\n" + strings.Replace(r.out, "err\n", "", 1)
		}
		if got != want {
			t.Errorf("%s: the log is not what was printed: %d bytes, want %d", flag, len(got), len(want))
		}
		if all := following.out.String(); !strings.HasSuffix(strings.Replace(all, "err\n", "", 1), want[len(want)-1000:]) || len(all) < len(want)-10 {
			t.Errorf("%s: who followed got %d bytes, want %d", flag, len(all), len(want))
		}
		i := l.session("x")
		if i.Exit == nil || i.Exit.Code != 9 || !i.Exit.Started.Equal(before.Started) {
			t.Errorf("%s: %+v", flag, i.Exit)
		}
		l.holderGone(i)
	}
}

// TestARenewedHolderKnowsTheScreen checks that the screen, the history and the viewers of a
// terminal survive a renewal, too.
func TestARenewedHolderKnowsTheScreen(t *testing.T) {
	l := newLab(t)
	l.ok("run", "-d", "-t", "--as", "x", "--", "sh", "-c", `seq 100; printf '\033[?2004h\033[1;31mred\033[m'; while read line; do echo "got $line"; done`)
	p := l.startTTY(24, 80, "attach", "x")
	p.out.expect(t, "red")
	if err := holder.Renew(l.home, nextVersion(t)); err != nil {
		t.Fatal(err)
	}
	p.out.expect(t, "red") // drawn again
	p.keys("on\r")
	p.out.expect(t, "got on")
	p.keys("~d")
	p.out.expect(t, "\x1b[?2004l")
	p.out.expect(t, "[detached")
	p.wait()
	p = l.startTTY(24, 80, "attach", "x")
	p.out.expect(t, "1\r\n2\r\n3\r\n") // history
	p.out.expect(t, "red")
	p.out.expect(t, "\x1b[?2004h")
	l.ok("kill", "--grace", "0", "x")
	p.wait()
}

// onBothInputs runs a test with a job that gets typed input, and with one that gets piped input.
func onBothInputs(t *testing.T, test func(t *testing.T, l *lab, start func(args ...string) *liveProcess)) {
	t.Run("terminal", func(t *testing.T) {
		l := newLab(t)
		test(t, l, func(args ...string) *liveProcess { return l.startTTY(24, 80, args...) })
	})
	t.Run("pipe", func(t *testing.T) {
		l := newLab(t)
		test(t, l, l.start)
	})
}

// TestARenewedHolderLosesNoInput checks that input that is typed, or piped into a job, while the
// holder becomes another program reaches the job in order, and no key becomes a signal.
func TestARenewedHolderLosesNoInput(t *testing.T) {
	next := []string{nextVersion(t), nextVersion(t)}
	const script = `stty raw -echo 2>/dev/null; echo ready; sed -u '/^end$/q' >%[1]s.tmp; mv %[1]s.tmp %[1]s; echo got`
	onBothInputs(t, func(t *testing.T, l *lab, start func(args ...string) *liveProcess) {
		file := filepath.Join(t.TempDir(), "got")
		p := start("run", "--as", "x", "--", "sh", "-c", fmt.Sprintf(script, file))
		p.out.expect(t, "ready")
		var renewed error
		over := make(chan struct{})
		go func() {
			defer close(over)
			for n := 0; n < 6 && renewed == nil; n++ {
				renewed = holder.Renew(l.home, next[n%2])
			}
		}()
		var want strings.Builder
		for n := 0; !closed(over); n++ {
			line := fmt.Sprintf("%d \x03\x04\x1a %s\n", n, strings.Repeat("x", n%200))
			want.WriteString(line)
			p.keys(line)
			time.Sleep(time.Millisecond) // faster than any user types, and no flood that would block
		}
		if renewed != nil {
			t.Fatal(renewed)
		}
		p.keys("end\n")
		p.out.expect(t, "got")
		p.wait()
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(want.String()+"end\n", "\n")
		for n, line := range strings.Split(string(got), "\n") {
			if n >= len(lines) || line != lines[n] {
				t.Fatalf("line %d is %q, want %q", n, line, lines[min(n, len(lines)-1)])
			}
		}
		if len(got) != want.Len()+len("end\n") {
			t.Errorf("%d bytes came, want %d", len(got), want.Len())
		}
	})
}

// TestARenewedHolderKeepsInputThatWaits checks that a renewal of the holder keeps the input that
// waits for a job that does not read.
func TestARenewedHolderKeepsInputThatWaits(t *testing.T) {
	next := []string{nextVersion(t), nextVersion(t)}
	var sent strings.Builder
	for n := range 20_000 {
		fmt.Fprintln(&sent, n)
	}
	onBothInputs(t, func(t *testing.T, l *lab, start func(args ...string) *liveProcess) {
		fifo := l.fifo()
		p := start("run", "--as", "x", "--", "sh", "-c", fmt.Sprintf("stty raw -echo 2>/dev/null; echo ready; read x <%s; head -c %d | md5sum", fifo, sent.Len()))
		p.out.expect(t, "ready")
		var typing sync.WaitGroup
		typing.Go(func() { p.keys(sent.String()) })
		for n := range 4 {
			if err := holder.Renew(l.home, goneWhenAsked(t)); err == nil {
				t.Error("a program that is gone took over")
			}
			if err := holder.Renew(l.home, next[n%2]); err != nil {
				t.Fatal(err)
			}
		}
		l.writeFifo(fifo, "go\n")
		p.out.expect(t, fmt.Sprintf("%x", md5.Sum([]byte(sent.String()))))
		typing.Wait()
		p.wait()
	})
}

// TestARenewedHolderKeepsTheEndOfInput checks that a renewal of the holder keeps the end of the
// input, after the input that waits.
func TestARenewedHolderKeepsTheEndOfInput(t *testing.T) {
	l := newLab(t)
	fifo, next := l.fifo(), []string{nextVersion(t), nextVersion(t)}
	sent := strings.Repeat("0123456789abcdef", 1<<16)
	p := l.start("run", "--as", "x", "--", "sh", "-c", "echo ready; read x <"+fifo+"; md5sum")
	p.out.expect(t, "ready")
	var piping sync.WaitGroup
	piping.Go(func() {
		p.keys(sent)
		p.in.Close()
	})
	for n := range 3 {
		if err := holder.Renew(l.home, next[n%2]); err != nil {
			t.Fatal(err)
		}
	}
	l.writeFifo(fifo, "go\n")
	p.out.expect(t, fmt.Sprintf("%x", md5.Sum([]byte(sent))))
	piping.Wait()
	p.wait()
}

// goneWhenAsked returns a program that accepts a handover, and is removed before it can be
// executed.
func goneWhenAsked(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gone")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nrm -- \"$0\"\necho 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestAProgramThatCannotTakeOver(t *testing.T) {
	l := newLab(t)
	l.ok("run", "-d", "--as", "x", "--", "sh", "-c", "exec sleep 1000")
	i := l.session("x")
	slow := filepath.Join(t.TempDir(), "slow")
	if err := os.WriteFile(slow, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"/bin/false", "/bin/echo", "/no/such/program", slow} {
		if err := holder.Renew(l.home, program); err == nil {
			t.Errorf("%s took over", program)
		}
	}
	if now := l.session("x"); now.Status != session.Running || now.Holder != i.Holder || now.Job != i.Job {
		t.Errorf("%+v became %+v", i, now)
	}
	l.ok("send", "x", "C-c")
	if r := l.keyway("wait", "x"); r.code != 130 {
		t.Errorf("%+v", r)
	}
}

// runsProgram reports whether a process runs the program at a path.
func runsProgram(pid int, path string) bool {
	a, errA := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	b, errB := os.Stat(path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}
