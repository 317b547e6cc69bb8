//go:build linux

package words

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"keyway/internal/session/joblog"
	"keyway/internal/session/wire"
)

// drawing programs; testdata/draw.py has them. The python of Debian's packages.
var drawers = []string{
	"tqdm_single", "tqdm_beside", "tqdm_write", "tqdm_nested", "rich_1", "rich_3", "rich_6", "rich_12", "rich_status", "spinner", "log_update",
	"layers", "compose", "indicatif", "pip", "cargo", "gcc", "plain", "dashboard", "screen", "region",
}

func drawer(t testing.TB, name string) []string {
	path, err := filepath.Abs("testdata/draw.py")
	if err != nil {
		t.Fatal(err)
	}
	return []string{"env", "PYTHONDONTWRITEBYTECODE=1", "/usr/bin/python3", path, name}
}

// tmuxShows returns the history and the screen of tmux after an output.
func tmuxShows(t *testing.T, w wire.Window, output string) []string {
	t.Helper()
	dir := t.TempDir()
	file, done := filepath.Join(dir, "raw"), filepath.Join(dir, "done")
	conf := filepath.Join(dir, "conf")
	for path, text := range map[string]string{file: output, conf: "set -g history-limit 100000\nset -g status off\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tmux := func(args ...string) string {
		cmd := exec.Command("tmux", append([]string{"-S", filepath.Join(dir, "s"), "-f", conf}, args...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMUX=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	tmux("new-session", "-d", "-x", fmt.Sprint(w.Cols), "-y", fmt.Sprint(w.Rows),
		fmt.Sprintf("stty raw -echo; cat %s; echo >%s; exec sleep 1000", file, done))
	defer tmux("kill-server")
	waitFor(t, "tmux", func() bool { _, err := os.Stat(done); return err == nil })
	capture := func() string { return tmux("capture-pane", "-p", "-J", "-S", "-") }
	last := ""
	waitFor(t, "tmux to be done", func() bool {
		now := capture()
		same := now == last
		last = now
		time.Sleep(50 * time.Millisecond)
		return same
	})
	return asSeen(last)
}

var sgr = regexp.MustCompile("\x1b\\[[0-9:;]*m|\x1b\\]8;[^\x1b]*\x1b\\\\")

// asSeen returns the lines of a text as they look: without styles, blanks at the
// end, and tabs.
func asSeen(text string) []string {
	lines := strings.Split(strings.TrimRight(sgr.ReplaceAllString(text, ""), "\n"), "\n")
	for i, line := range lines {
		var b strings.Builder
		n := 0
		for _, r := range line {
			for n++; r == '\t' && n%8 != 0; n++ {
				b.WriteByte(' ')
			}
			if r == '\t' {
				r = ' '
			}
			b.WriteRune(r)
		}
		lines[i] = strings.TrimRight(b.String(), " ")
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// TestLogsAreWhatATerminalShows checks that logs show programs' output as tmux does at the same
// size, line for line, and that a follower gets all of it.
func TestLogsAreWhatATerminalShows(t *testing.T) {
	for _, w := range []wire.Window{{Rows: 24, Cols: 80}, {Rows: 10, Cols: 40}, {Rows: 50, Cols: 132}} {
		for _, name := range drawers {
			t.Run(fmt.Sprintf("%s/%dx%d", name, w.Cols, w.Rows), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				p := l.startTTY(w.Rows, w.Cols, append([]string{"run", "--as", "x", "--"}, drawer(t, name)...)...)
				p.wait()
				want := tmuxShows(t, w, l.ok("logs", "--raw", "x"))
				got := asSeen(l.ok("logs", "x"))
				compareLines(t, got, want)
			})
		}
	}
}

func compareLines(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		var a, b string
		if i < len(got) {
			a = got[i]
		}
		if i < len(want) {
			b = want[i]
		}
		if a != b {
			t.Errorf("%d lines, want %d; line %d is %q, want %q", len(got), len(want), i+1, a, b)
			return
		}
	}
}

// TestWhoFollowsGetsEveryLineOnce checks that a viewer that follows a job gets the same lines as
// keyway logs after the end, each once.
func TestWhoFollowsGetsEveryLineOnce(t *testing.T) {
	t.Setenv(envSettle, "3s")
	for _, name := range drawers {
		if name == "dashboard" || name == "rich_12" && testing.Short() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			fifo := l.fifo()
			l.ok(append([]string{"run", "-d", "-t", "--as", "x", "--", "sh", "-c", `read x <"$0"; exec "$@"`, fifo}, drawer(t, name)...)...)
			p := l.start("logs", "-f", "x")
			l.writeFifo(fifo, "go\n")
			p.wait()
			want := tmuxShows(t, wire.Window{Rows: 24, Cols: 80}, l.ok("logs", "--raw", "x"))
			compareLines(t, asSeen(p.out.String()), want)
		})
	}
}

// TestAFollowerComesBetweenTwoPictures checks that the lines of a picture that was drawn before the
// follower came are not final, since the job still moves up to them.
func TestAFollowerComesBetweenTwoPictures(t *testing.T) {
	t.Setenv(envSettle, "1m")
	l := newLab(t)
	fifo := l.fifo()
	l.ok("run", "-d", "-t", "--as", "x", "--", "sh", "-c", `printf 'outer 0\ninner 0\n'; read x <"$0"; printf '\033[2Aouter 1\ninner 1\n'`, fifo)
	waitFor(t, "the first picture", func() bool { return strings.Contains(l.ok("logs", "x"), "inner 0") })
	p := l.start("logs", "-f", "x")
	waitFor(t, "the follower's connection", func() bool {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.cmd.Process.Pid))
		return slices.ContainsFunc(files, func(f string) bool {
			to, _ := os.Readlink(f)
			return strings.HasPrefix(to, "socket:")
		})
	})
	l.writeFifo(fifo, "go\n")
	p.wait()
	compareLines(t, asSeen(p.out.String()), []string{"outer 1", "inner 1"})
}

// TestLogsOfPipes checks that each stream of a job with pipes is drawn separately, and that lines
// of both come in the order in which they were printed.
func TestLogsOfPipes(t *testing.T) {
	for _, name := range drawers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.ok(append([]string{"run", "-T", "--as", "x", "--"}, drawer(t, name)...)...)
			raw, logs := l.keyway("logs", "--raw", "x"), l.keyway("logs", "x")
			large := wire.Window{Rows: 100, Cols: 512} // as the lines of pipes are drawn
			compareLines(t, asSeen(logs.out), tmuxShows(t, large, strings.ReplaceAll(raw.out, "\n", "\r\n")))
			compareLines(t, asSeen(logs.err), tmuxShows(t, large, strings.ReplaceAll(raw.err, "\n", "\r\n")))
		})
	}
	l := newLab(t)
	// In turns: the job may read from one FIFO while that is still open for the previous word.
	fifos := []string{l.fifo(), l.fifo()}
	l.ok("run", "-d", "-T", "--as", "x", "--", "sh", "-c", `for n in 1 2 3; do printf '\r 10%%\r100%% of %d\n' $n >&2; read x <"$0"; echo "epoch	$n"; read x <"$1"; done`, fifos[0], fifos[1])
	for n := range 3 {
		for i, size := range []uint64{16, 24} { // in the log, before the job continues
			waitFor(t, "the log", func() bool {
				r, closeLog, err := joblog.Open(l.Path("x"))
				if err == nil {
					closeLog()
				}
				return r.Size == uint64(n)*24+size
			})
			l.writeFifo(fifos[i], "on\n")
		}
	}
	l.ok("wait", "x")
	cmd := l.cmd("logs", "x")
	both, err := cmd.CombinedOutput() // one pipe
	if want := "100% of 1\nepoch\t1\n100% of 2\nepoch\t2\n100% of 3\nepoch\t3\n"; err != nil || string(both) != want {
		t.Errorf("%q, %v", both, err)
	}
}

// TestLinesBesideABarComeAtOnce checks that a line that is printed beside a bar is shown at once,
// in a pipe and on a terminal.
func TestLinesBesideABarComeAtOnce(t *testing.T) {
	for _, flag := range []string{"-t", "-T"} {
		l := newLab(t)
		fifo := l.fifo()
		const train = `
import sys
from tqdm import tqdm
for n in tqdm(range(3), mininterval=0):
    print("epoch", n, flush=True)
    open(sys.argv[1]).read()
`
		l.ok("run", "-d", flag, "--as", "x", "--", "/usr/bin/python3", "-c", train, fifo)
		pipe, term := l.start("logs", "-f", "x"), l.startTTY(24, 80, "logs", "-f", "x")
		for n := range 3 {
			pipe.out.expect(t, fmt.Sprintf("epoch %d\n", n))
			term.out.expect(t, fmt.Sprintf("epoch %d\r\n", n))
			l.writeFifo(fifo, "")
		}
		pipe.wait()
		term.wait()
	}
}

func TestLogsTail(t *testing.T) {
	l := newLab(t)
	l.ok("run", "-d", "--as", "x", "--", "sh", "-c", `seq 5000; printf '\r10%%\r20%%\n'; printf end`)
	l.ok("wait", "x")
	for args, want := range map[string]string{
		"--tail 2": "20%\nend", "-n 4": "4999\n5000\n20%\nend", "--tail=0": "", "--raw --tail 2": "\r10%\r20%\nend", "-n1 -f": "end",
	} {
		if got := l.ok(append(append([]string{"logs"}, strings.Fields(args)...), "x")...); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
	if got := l.ok("logs", "--tail", "9999", "x"); strings.Count(got, "\n") != 5001 {
		t.Errorf("more than there is: %d lines", strings.Count(got, "\n"))
	}
	for _, bad := range []string{"-1", "x", ""} {
		if r := l.keyway("logs", "--tail", bad, "x"); r.code != 2 {
			t.Errorf("--tail %q: %+v", bad, r)
		}
	}
}
