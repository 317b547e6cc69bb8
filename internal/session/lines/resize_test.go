//go:build linux

package lines

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keyway/internal/session/wire"
)

// step is the output of a program until its terminal gets another size.
type step struct {
	cols, rows int
	output     string
}

// tmuxAfter returns the final contents of tmux after an output.
func tmuxAfter(t *testing.T, socket, name string, steps []step) []string {
	t.Helper()
	dir := t.TempDir()
	var script strings.Builder
	fmt.Fprintf(&script, "cd %s; stty raw -echo", dir)
	for n, s := range steps {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), []byte(s.output), 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&script, "; cat %d; printf '\\033]2;shown %d\\033\\\\'; read x <go%d", n, n, n)
		if out, err := exec.Command("mkfifo", filepath.Join(dir, fmt.Sprintf("go%d", n))).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	tmux := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("tmux", append([]string{"-S", socket, "-f", "/dev/null"}, args...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMUX=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	tmux("new-session", "-d", "-x", fmt.Sprint(steps[0].cols), "-y", fmt.Sprint(steps[0].rows), "-s", name, "sh", "-c", script.String())
	defer tmux("kill-session", "-t", name)
	tmux("set", "-t", name, "status", "off")
	for n, s := range steps {
		if n > 0 {
			tmux("resize-window", "-t", name, "-x", fmt.Sprint(s.cols), "-y", fmt.Sprint(s.rows))
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("go%d", n-1)), []byte("\n"), 0); err != nil {
				t.Fatal(err)
			}
		}
		for end := time.Now().Add(time.Minute); strings.TrimSpace(tmux("display-message", "-p", "-t", name, "#{pane_title}")) != fmt.Sprint("shown ", n); {
			if time.Now().After(end) {
				t.Fatal("tmux does not show it")
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	return trimmedLines(tmux("capture-pane", "-p", "-J", "-S", "-", "-t", name))
}

func trimmedLines(text string) []string {
	lines := strings.Split(plainText(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \r")
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// oursAfter returns the same output as keyway logs prints it.
func oursAfter(t *testing.T, steps []step, random *rand.Rand) []string {
	t.Helper()
	var got bytes.Buffer
	run := func(c *Collapsers) *Collapser {
		for _, s := range steps {
			c.Resized(wire.Window{Rows: uint16(s.rows), Cols: uint16(s.cols)})
			for p := []byte(s.output); len(p) > 0; {
				n := 1 + random.IntN(len(p))
				if err := c.Put(wire.TTY, p[:n]); err != nil {
					t.Fatal(err)
				}
				p = p[n:]
			}
		}
		return c.Of(wire.TTY)
	}
	first := wire.Window{Rows: uint16(steps[0].rows), Cols: uint16(steps[0].cols)}
	c := &Collapsers{Window: first, Exact: true, Emit: func(_ wire.Stream, p []byte) error { got.Write(p); return nil }}
	c.Depths[wire.TTY] = run(&Collapsers{Window: first}).Depth
	if err := run(c).close(); err != nil {
		t.Fatal(err)
	}
	return trimmedLines(got.String())
}

// backs are the sequences with which programs move back to redraw a bar.
var backs = []string{"\r", "\r\x1b[K", "\r\x1b[2K", "\x1b[2K\r", "\x1b[G\x1b[K", "\x1b[1G\x1b[0J", "\r\x1b[J"}

// randomBar returns a bar that is redrawn in windows of several sizes, and lines beside it.
func randomBar(random *rand.Rand) (back string, steps []step) {
	back = backs[random.IntN(len(backs))]
	n := 0
	for range 2 + random.IntN(3) {
		s := step{cols: 10 + random.IntN(30), rows: 5 + random.IntN(10)}
		var b strings.Builder
		for range 1 + random.IntN(5) {
			n++
			width := []int{s.cols, s.cols, s.cols - 1, s.cols + 1, s.cols / 2, 25}[random.IntN(6)]
			bar := fmt.Sprintf("%d|%s", n, strings.Repeat("#", 100))[:width]
			b.WriteString(back + bar)
			if random.IntN(3) == 0 {
				fmt.Fprintf(&b, "%sline %d\r\n", back, n)
			}
		}
		s.output = b.String()
		steps = append(steps, s)
	}
	steps[len(steps)-1].output += "\r\nend\r\n"
	return back, steps
}

// TestBarsAfterAResize checks that a bar that is redrawn after its window was resized is printed
// as tmux has it. The bar may be narrower than the window, as wide or wider. There is one
// difference: a finished line in place of the rest of a bar that does not erase is a part of the
// bar for tmux, and a line of its own here.
func TestBarsAfterAResize(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	if err := exec.Command("tmux", "-S", socket, "-f", "/dev/null", "new-session", "-d", "sleep 1000").Run(); err != nil {
		t.Fatal(err)
	}
	defer exec.Command("tmux", "-S", socket, "kill-server").Run()
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 7))
		back, steps := randomBar(random)
		want, got := tmuxAfter(t, socket, fmt.Sprint("s", seed), steps), oursAfter(t, steps, random)
		for i := range got {
			if at := strings.Index(got[i], "line"); at > 0 {
				t.Errorf("seed %d: a line within another: %q", seed, got[i])
			}
		}
		between := "\n"
		if back == "\r" {
			between = ""
		}
		if strings.Join(got, between) != strings.Join(want, between) {
			t.Errorf("seed %d: %+q\n have %q\n want %q", seed, fmt.Sprint(steps), got, want)
		}
	}
}
