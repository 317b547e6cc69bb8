//go:build linux

package words

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// random returns n random bytes with many queries that terminals answer. answers are sequences that
// terminals send by themselves.
var answers = []string{
	"\x1b[?62;22c", "\x1bP!|00000000\x1b\\", "\x1b[0n", "\x1b[24;80R", "\x1b[?2026;2$y", "\x1b[?1u", "\x1b[>4;2m", "\x1b[8;24;80t",
	"\x1b]lthe title\x1b\\", "\x1bP>|XTerm(390)\x1b\\", "\x1bP1+r544e=787465726d\x1b\\", "\x1b]11;rgb:0000/0000/0000\x1b\\", "\x1b_Gi=1;OK\x1b\\",
}

func random(r *rand.Rand, n int) []byte {
	p := make([]byte, 0, n+64)
	for len(p) < n {
		if r.IntN(20) == 0 {
			p = append(p, answers[r.IntN(len(answers))]...)
		}
		p = append(p, byte(r.Uint32()))
	}
	return p[:n]
}

// TestAnyBytesThroughPipes checks that bytes that are piped into a job and out of it are equal,
// whatever they are and however they are cut.
func TestAnyBytesThroughPipes(t *testing.T) {
	l := newLab(t)
	r := rand.New(rand.NewPCG(3, 4))
	for _, script := range []string{"exec cat", "exec cat >&2", `exec cat >"$0"`} {
		for _, most := range []int{1, 100, 70_000} {
			all := random(r, 200_000)
			if most == 1 {
				all = all[:20_000]
			}
			file := filepath.Join(t.TempDir(), "out")
			p := l.start("run", "-T", "--", "sh", "-c", script, file)
			for rest := all; len(rest) > 0; {
				n := min(len(rest), 1+r.IntN(most))
				p.keys(string(rest[:n]))
				rest = rest[n:]
				if r.IntN(200) == 0 {
					time.Sleep(time.Millisecond) // for the pieces to arrive one by one
				}
			}
			p.in.Close()
			if code := p.wait(); code != 0 {
				t.Fatalf("%s: exit code %d: %s", script, code, p.errs)
			}
			inFile, _ := os.ReadFile(file)
			if got := append([]byte(p.out.String()+p.errs.String()), inFile...); !bytes.Equal(got, all) {
				t.Errorf("%s: %d bytes of %d came back, or others", script, len(got), len(all))
			}
		}
	}
}

// TestDetachedPython checks that the output of a detached Python job is visible at once, and stays
// when the job is killed.
func TestDetachedPython(t *testing.T) {
	l := newLab(t)
	const train = `import os, time; print("epoch 1", os.isatty(0), os.isatty(1)); time.sleep(1000)`
	for _, c := range []struct {
		by   string
		args []string
		want string
	}{
		{"a person", nil, "epoch 1 True True\n"},
		{"a person", []string{"-T"}, "epoch 1 False False\n"},
		{"a script", nil, "epoch 1 False False\n"},
		{"a script", []string{"-t"}, "epoch 1 True True\n"},
	} {
		args := append(append([]string{"run", "-d", "--as", "x"}, c.args...), "--", "python3", "-c", train)
		if c.by == "a person" {
			if p := l.startTTY(24, 80, args...); p.wait() != 0 {
				t.Fatalf("%v: %s", args, p.out)
			}
		} else {
			l.ok(args...)
		}
		l.start("logs", "-f", "x").out.expect(t, c.want)
		l.ok("send", "--signal", "KILL", "x")
		l.keyway("wait", "x")
		if got := l.ok("logs", "x"); got != c.want {
			t.Errorf("by %s, %v: %q", c.by, c.args, got)
		}
	}
	for set, want := range map[string]string{"PYTHONUNBUFFERED=": "", "PYTHONUNBUFFERED=x": "x", "": "1"} {
		cmd := l.cmd("run", "-T", "--", "sh", "-c", `printf %s "$PYTHONUNBUFFERED"`)
		if cmd.Env = append(cmd.Env, set); set == "" {
			cmd.Env = slices.DeleteFunc(cmd.Env, func(e string) bool { return e == "" || strings.HasPrefix(e, "PYTHONUNBUFFERED=") })
		}
		if r := l.finish(cmd); r.out != want {
			t.Errorf("%q: %+v", set, r)
		}
	}
}

// TestInputThatCannotBeRead checks that unreadable input counts as empty and is reported, and that
// the job does not wait for it.
func TestInputThatCannotBeRead(t *testing.T) {
	l := newLab(t)
	for name, flags := range map[string]int{t.TempDir(): os.O_RDONLY, filepath.Join(t.TempDir(), "new"): os.O_WRONLY | os.O_CREATE} {
		f, err := os.OpenFile(name, flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		cmd := l.cmd("run", "--", "wc", "-c")
		cmd.Stdin = f
		r := l.finish(cmd)
		f.Close()
		if r.code != 0 || r.out != "0\n" || !strings.Contains(r.err, "the job's input ends here: ") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestInputThatBreaksOff checks that a job that succeeds on a part of its input is not reported as
// a success.
func TestInputThatBreaksOff(t *testing.T) {
	l := newLab(t)
	page := int64(os.Getpagesize())
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(page); err != nil {
		t.Fatal(err)
	}
	// Memory beyond the end of a mapped file cannot be read.
	mapped, err := unix.Mmap(int(f.Fd()), 0, int(2*page), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mapped)
	for script, code := range map[string]int{"wc -c": 1, "wc -c; exit 7": 7} {
		memory, err := os.Open("/proc/self/mem")
		if err != nil {
			t.Fatal(err)
		}
		defer memory.Close()
		if _, err := memory.Seek(int64(uintptr(unsafe.Pointer(&mapped[0]))), io.SeekStart); err != nil {
			t.Fatal(err)
		}
		cmd := l.cmd("run", "--", "sh", "-c", script)
		cmd.Stdin = memory
		r := l.finish(cmd)
		if r.code != code || r.out != fmt.Sprintln(page) || !strings.Contains(r.err, "the job's input ends here: ") {
			t.Errorf("%s: %+v", script, r)
		}
	}
}
