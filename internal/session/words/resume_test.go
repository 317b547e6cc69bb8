//go:build linux

package words

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"keyway/internal/keyway"
)

// follower is a laptop that follows a log through connections that break.
type follower struct {
	l         *lab
	got       [2]bytes.Buffer
	unmarkers [2]*keyway.Unmarker
	between   func() // while no connection is there
	breaks    int
}

func (l *lab) follower() *follower {
	f := &follower{l: l, between: func() {}}
	for n := range f.unmarkers {
		f.unmarkers[n] = &keyway.Unmarker{To: &f.got[n], Word: "word"}
	}
	return f
}

// connect runs the command until it has printed that many bytes on one of its streams, and reports
// whether it ended by itself.
func (f *follower) connect(most [2]int64, args ...string) (code int, ended bool) {
	f.l.t.Helper()
	cmd := f.l.cmd(args...)
	cmd.Env = append(cmd.Env, keyway.RequestMarks(f.unmarkers[0], f.unmarkers[1]))
	out, err1 := cmd.StdoutPipe()
	errs, err2 := cmd.StderrPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		f.l.t.Fatal(err)
	}
	broke := [2]bool{}
	var read sync.WaitGroup
	for n, r := range []io.Reader{out, errs} {
		read.Go(func() {
			if _, err := io.CopyN(f.unmarkers[n], r, most[n]); err == nil {
				broke[n] = true
				_ = cmd.Process.Kill()
			}
		})
	}
	within(f.l.t, "the command", func() { read.Wait(); _ = cmd.Wait() })
	if broke[0] || broke[1] {
		f.breaks++
		for _, u := range f.unmarkers {
			u.Drop()
		}
		f.between()
		return 0, false
	}
	for _, u := range f.unmarkers {
		if err := u.Flush(); err != nil {
			f.l.t.Fatal(err)
		}
	}
	return cmd.ProcessState.ExitCode(), true
}

// until runs the command until it has printed a text or, if that is empty, a mark.
func (f *follower) until(text string, args ...string) {
	f.l.t.Helper()
	for most := int64(1); !keyway.Marked(f.unmarkers[0], f.unmarkers[1]) || !strings.Contains(f.got[0].String(), text); most++ {
		if _, ended := f.connect([2]int64{most, 1 << 20}, args...); ended {
			f.l.t.Fatalf("%q ended", args)
		}
	}
}

// all runs the command until it ends by itself. Connections break after random numbers of bytes.
func (f *follower) all(r *rand.Rand, args ...string) (out, errs string, code int) {
	f.l.t.Helper()
	for most := int64(100); ; most += most/4 + 1 {
		if code, ended := f.connect([2]int64{1 + r.Int64N(most), 1 + r.Int64N(most)}, args...); ended {
			return f.got[0].String(), f.got[1].String(), code
		}
	}
}

// Programs whose output is followed over connections that break. Each waits for a file before its
// last line.
var resumed = map[string]string{
	"lines":   `for i in range(1000): print("line", i); time.sleep(.0002)`,
	"streams": "for i in range(700):\n print('out', i)\n if i % 3 == 0: print('err', i, file=sys.stderr)\n time.sleep(.0002)",
	"long":    `print("x" * 300000 + "end"); print("y" * 70000)`,
	"bar":     "for e in range(20):\n print('epoch', e)\n for i in range(50): sys.stdout.write('\\r%d%%' % (2 * i)); time.sleep(.0002)\n sys.stdout.write('\\r100%\\n')",
	"rows":    "print('\\x1b[J\\n\\n\\n', end='')\nfor i in range(200): sys.stdout.write('\\x1b[3A\\x1b[Jline %d\\n one %d\\n two %d\\n three\\n' % (i, i, i)); time.sleep(.001)",
	"colours": "for i in range(500): print('\\x1b[3%dmline\\x1b[0m %d' % (i % 8, i)); time.sleep(.0002)",
}

// TestALogGoesOnWhereItBroke checks that a log that is followed through breaks is complete and has
// no line twice, wherever the connection breaks.
func TestALogGoesOnWhereItBroke(t *testing.T) {
	for name, program := range resumed {
		for _, with := range []string{"-t", "-T"} {
			for _, raw := range []bool{false, true} {
				t.Run(fmt.Sprint(name, with, raw), func(t *testing.T) {
					t.Parallel()
					l, r := newLab(t), rand.New(rand.NewPCG(1, uint64(len(name))))
					args := []string{"logs", "-f", "x"}
					if raw {
						args = append(args, "--raw")
					}
					l.ok("run", "-d", with, "--as", "x", "--", "python3", "-uc", "import sys, time\n"+program)
					f := l.follower()
					out, errs, code := f.all(r, args...)
					want := l.keyway(append(args[:1:1], args[2:]...)...)
					if code != 0 || out != want.out || errs != want.err {
						t.Errorf("exit code %d, %d breaks; %s; %s", code, f.breaks, differs(out, want.out), differs(errs, want.err))
					}
					if f.breaks < 3 {
						t.Errorf("only %d breaks", f.breaks)
					}
				})
			}
		}
	}
}

// differs describes where two texts differ.
func differs(got, want string) string {
	for n, line := range strings.SplitAfter(want, "\n") {
		if !strings.HasPrefix(got, line) {
			return fmt.Sprintf("line %d of %d is %.60q, want %.60q", n, strings.Count(want, "\n"), got, line)
		}
		got = got[len(line):]
	}
	if got != "" {
		return fmt.Sprintf("after the end comes %.60q", got)
	}
	return "equal"
}

// TestALogGoesOnInTheSameSession checks that a log continues with the session with which it began,
// although another now has the name, and with the lines that --tail chose at the beginning.
func TestALogGoesOnInTheSameSession(t *testing.T) {
	l := newLab(t)
	for _, args := range [][]string{{"logs", "-f", "x"}, {"logs", "-f"}, {"logs", "-f", "--tail", "2", "x"}} {
		goOn := l.fifo()
		l.ok("run", "-d", "--as", "x", "--", "sh", "-c", "echo one; echo two; echo three; cat "+goOn+"; echo four")
		want := "one\ntwo\nthree\nfour\n"
		if len(args) > 3 {
			want = want[4:]
		}
		waitFor(t, "the lines", func() bool { return strings.Contains(l.ok("logs", "x"), "three\n") })
		f := l.follower()
		f.until("", args...)
		l.writeFifo(goOn, "")
		l.ok("wait", "x")
		l.ok("run", "-d", "--as", "x", "--", "echo", "another")
		l.ok("wait", "x")
		if code, ended := f.connect([2]int64{1 << 20, 1 << 20}, args...); !ended || code != 0 || f.got[0].String() != want {
			t.Errorf("%q: exit code %d, %q, want %q; %s", args, code, &f.got[0], want, &f.got[1])
		}
		l.ok("rm", "--ended")
	}
}

// TestWaitGoesOn checks that wait continues to wait for the session with which it began, and that a
// mark at its end tells a job's own exit code 255 from that of ssh.
func TestWaitGoesOn(t *testing.T) {
	l := newLab(t)
	fifo := l.fifo()
	for _, exit := range []int{7, 255} {
		l.ok("run", "-d", "--as", "x", "--", "sh", "-c", fmt.Sprintf("cat %s; exit %d", fifo, exit))
		f := l.follower()
		f.until("", "wait")
		l.writeFifo(fifo, "")
		l.ok("run", "-d", "--as", "y", "--", "sleep", "1000")
		code, ended := f.connect([2]int64{1 << 20, 1 << 20}, "wait")
		if !ended || code != exit || f.got[0].Len() > 0 || f.unmarkers[0].Moved() != (exit == 255) {
			t.Errorf("exit code %d, want %d, the mark has moved: %t; %q %q", code, exit, f.unmarkers[0].Moved(), &f.got[0], &f.got[1])
		}
		l.ok("kill", "y")
		l.finish(l.cmd("wait", "y"))
		l.ok("rm", "--ended")
	}
}

// TestARemovedSessionIsGone checks that no other session, not even one of the same name, replaces a
// session that was removed while the connection was broken.
func TestARemovedSessionIsGone(t *testing.T) {
	for _, args := range [][]string{{"logs", "-f"}, {"logs", "-f", "x"}, {"wait"}, {"wait", "x"}} {
		l := newLab(t)
		fifo := l.fifo()
		l.ok("run", "-d", "--as", "x", "--", "cat", fifo)
		f := l.follower()
		f.until("", args...)
		l.writeFifo(fifo, "")
		l.ok("wait", "x")
		l.ok("rm", "x")
		l.ok("run", "-d", "--as", "x", "--", "echo", "another")
		code, ended := f.connect([2]int64{1 << 20, 1 << 20}, args...)
		if want := keyway.ExitCode(keyway.Errorf(keyway.NotFound, "")); !ended || code != want || f.got[0].Len() > 0 {
			t.Errorf("%q: exit code %d, want %d; %q %q", args, code, want, &f.got[0], &f.got[1])
		}
	}
}

// TestALogThatDroppedOutputMeanwhile checks that the bytes that the log dropped while the
// connection was broken are counted and reported.
func TestALogThatDroppedOutputMeanwhile(t *testing.T) {
	t.Setenv(envSmallLogs, "1")
	const lines = 500_000 // 50 MB
	l := newLab(t)
	fifo := l.fifo()
	l.ok("run", "-d", "-T", "--as", "x", "--", "sh", "-c", "echo begin; cat "+fifo+"; "+numbers(lines))
	f := l.follower()
	waitFor(t, "the beginning", func() bool { return l.logSize("x") == 6 })
	f.until("begin\n", "logs", "-f", "--raw", "x")
	l.writeFifo(fifo, "")
	within(t, "the end", func() { l.ok("wait", "x") })
	code, ended := f.connect([2]int64{1 << 40, 1 << 40}, "logs", "-f", "--raw", "x")
	said := f.got[1].String()
	n, err := strconv.Atoi(strings.TrimPrefix(strings.Split(said, " ")[0], "["))
	if whole := f.got[0].Len() + n; !ended || code != 1 || err != nil || whole != 6+100*(lines-1) && whole != 6+100*lines {
		t.Errorf("exit code %d, %d bytes and %d skipped; %s", code, f.got[0].Len(), n, said)
	}
	if !strings.HasPrefix(f.got[0].String(), "begin\n") {
		t.Errorf("it begins with %q", f.got[0].Bytes()[:20])
	}
}
