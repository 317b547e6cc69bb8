//go:build linux

package screen

import (
	"fmt"
	imagecolor "image/color"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
)

// The screens of other terminals after the same bytes are compared with a Screen's. test/record
// has made the recordings.

const recordedCols, recordedRows = 100, 30

func recordings(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.raw")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".raw")] = data
	}
	return all
}

// inPieces writes p in pieces of random sizes.
func inPieces(w io.Writer, p []byte, random *rand.Rand) {
	for len(p) > 0 {
		n := min(len(p), 1+random.IntN(1+random.IntN(4096)))
		w.Write(slices.Clone(p[:n]))
		p = p[n:]
	}
}

// tmux is a tmux server of the test's own.
type tmux struct {
	t      *testing.T
	socket string
}

func startTmux(t *testing.T) *tmux {
	m := &tmux{t, filepath.Join(t.TempDir(), "s")}
	conf := filepath.Join(t.TempDir(), "conf")
	const options = "set -g status off\nset -g history-limit 10000\nset -g default-terminal tmux-256color\n"
	if err := os.WriteFile(conf, []byte(options), 0o600); err != nil {
		t.Fatal(err)
	}
	m.run("-f", conf, "new-session", "-d", "-s", "keep", "sleep 1000")
	t.Cleanup(func() { m.run("kill-server") })
	return m
}

func (m *tmux) run(args ...string) string {
	m.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", m.socket}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMUX=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// show prints p in a pane, and returns the pane's target when p is visible.
func (m *tmux) show(name string, p []byte) string {
	return m.showIn(recordedCols, recordedRows, name, p)
}

func (m *tmux) showIn(cols, rows int, name string, p []byte) string {
	m.t.Helper()
	file := filepath.Join(m.t.TempDir(), "bytes")
	if err := os.WriteFile(file, p, 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.run("new-session", "-d", "-x", strconv.Itoa(cols), "-y", strconv.Itoa(rows), "-s", name,
		"stty raw -echo; cat "+file+"; printf '\\033]2;all is shown\\033\\\\'; sleep 1000")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if strings.TrimSpace(m.run("display-message", "-p", "-t", name, "#{pane_title}")) == "all is shown" {
			return name
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("tmux has not shown %s", name)
		}
	}
}

// captured returns tmux's capture, drawn on a Screen.
func (m *tmux) captured(cols, rows int, target string) *Screen {
	m.t.Helper()
	text := m.run("capture-pane", "-e", "-p", "-N", "-t", target)
	s := New(cols, rows, Options{})
	s.Write([]byte("\x1b)0")) // tmux writes line drawing as the second set
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for y, line := range lines {
		s.Write([]byte(fmt.Sprintf("\x1b[%d;1H%s\x0f", y+1, line)))
	}
	return s
}

// tmuxKeeps are recordings in which the last column is erased while the cursor stands after it. In
// this case tmux erases nothing, unlike the terminals that it imitates.
var tmuxKeeps = map[string]bool{"top": true}

// tmuxSees returns the part of a cell that tmux can report. It has no links, and its captures have
// no overlines and no background of erased cells.
func tmuxSees(d drawn, c cell) drawn {
	d.link = link{}
	d.style.attrs &^= overlined
	if c.blank() {
		d.style.bg = 0
	}
	return d
}

// same compares the contents of a screen and a pane.
func same(t *testing.T, ours *Screen, other *Screen, columns int) {
	t.Helper()
	var wrong []string
	for y := range ours.rows {
		row, there := ours.drawnRow(ours.g, y), other.drawnRow(other.g, y)
		for x := range columns {
			c := ours.g.row(y)[x]
			if a, b := tmuxSees(row[x], c), tmuxSees(there[x], c); a != b {
				wrong = append(wrong, fmt.Sprintf("%d,%d: %+v, tmux %+v", x, y, a, b))
			}
		}
	}
	if len(wrong) > 0 {
		t.Errorf("%d cells differ:\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), 12)], "\n"))
	}
}

func TestAgainstTmux(t *testing.T) {
	m := startTmux(t)
	random := rand.New(rand.NewPCG(1, 2))
	for name, data := range recordings(t) {
		if name == "emoji" {
			continue // tmux and x/vt disagree, and current terminals behave as x/vt
		}
		t.Run(name, func(t *testing.T) {
			m := &tmux{t, m.socket}
			ours := New(recordedCols, recordedRows, Options{})
			inPieces(ours, data, random)
			pane := m.show(name, data)
			columns := ours.cols
			if tmuxKeeps[name] {
				columns--
			}
			same(t, ours, m.captured(recordedCols, recordedRows, pane), columns)
			at := m.run("display-message", "-p", "-t", pane, "#{cursor_x},#{cursor_y},#{alternate_on}")
			if want := fmt.Sprintf("%d,%d,%d\n", ours.x, ours.y, map[bool]int{true: 1}[ours.Alternate()]); at != want {
				t.Errorf("cursor and alternate screen: %stmux: %s", want, at)
			}

			// And the contents after our snapshot.
			again := m.show(name+" again", ours.Snapshot(nil))
			same(t, ours, m.captured(recordedCols, recordedRows, again), ours.cols)
			if now := m.run("display-message", "-p", "-t", again, "#{cursor_x},#{cursor_y},#{alternate_on}"); now != at {
				t.Errorf("the snapshot leaves %stmux was at %s", now, at)
			}
		})
	}
}

// TestBehaviourOfTmux checks that tmux behaves as the table describes.
func TestBehaviourOfTmux(t *testing.T) {
	m := startTmux(t)
	for i, b := range behaviours {
		if b.only {
			continue
		}
		pane := m.showIn(10, 5, fmt.Sprint("behaviour", i), []byte(b.in))
		text := m.captured(10, 5, pane).rowsText()
		at := strings.TrimSpace(m.run("display-message", "-p", "-t", pane, "#{cursor_x},#{cursor_y}"))
		at = strings.Replace(at, "10,", "9,", 1) // its cursor is beyond the edge while the wrap is pending
		if want := fmt.Sprintf("%d,%d", b.x, b.y); text != b.rows || at != want {
			t.Errorf("%s: tmux shows %q, cursor at %s; want %q, %s", b.name, text, at, b.rows, want)
		}
		m.run("kill-session", "-t", pane)
	}
}

// TestAttachInTmux checks that a terminal that is attached gets the history into its own
// scrollback, below its earlier contents, and the screen, whatever its cursor's row.
func TestAttachInTmux(t *testing.T) {
	m := startTmux(t)
	s := New(recordedCols, recordedRows, Options{})
	long := strings.Repeat("a line that wraps ", 10)
	for i := range 100 {
		fmt.Fprintf(s, "\x1b[3%dm%d\x1b[m %s\r\n", i%8, i, long[:i])
	}
	fmt.Fprintf(s, "%s\r\n$ \x1b[5 q\x1b[?2004h", long)
	for _, name := range []string{"main", "alternate"} {
		if name == "alternate" {
			s.Write([]byte("\x1b[?1049h\x1b[Hfull screen\x1b[3;4H"))
		}
		for _, before := range []string{"", "one\r\n", strings.Repeat("line\r\n", 50)} {
			pane := m.show(fmt.Sprint(name, len(before)), append([]byte(before), s.Attach(nil, 60)...))
			same(t, s, m.captured(recordedCols, recordedRows, pane), s.cols)
			at := strings.TrimSpace(m.run("display-message", "-p", "-t", pane, "#{cursor_x},#{cursor_y}"))
			if want := fmt.Sprintf("%d,%d", s.x, s.y); at != want {
				t.Errorf("cursor at %s, want %s", at, want)
			}
			if name == "alternate" {
				continue // its scrollback is the other screen's
			}
			history := strings.Split(strings.TrimRight(m.run("capture-pane", "-p", "-J", "-S", "-", "-E", "-1", "-t", pane), "\n"), "\n")
			want := historyLines(s, 60)
			if got := len(history) - strings.Count(before, "\n"); got != len(want) {
				t.Errorf("%d lines of history after %q, want %d", got, before, len(want))
			}
			last := regexp.MustCompile(`\x1b\[\d*m`).ReplaceAllString(want[len(want)-1], "")
			if got := strings.TrimRight(history[len(history)-1], " "); got != last {
				t.Errorf("the history ends with %q, want %q", got, last)
			}
		}
	}
}

func TestAgainstVT(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for name, data := range recordings(t) {
		if name == "wrap" {
			continue // x/vt drops wide characters that do not fit the row
		}
		t.Run(name, func(t *testing.T) {
			ours := New(recordedCols, recordedRows, Options{})
			inPieces(ours, data, random)
			other := vt.NewEmulator(recordedCols, recordedRows)
			other.SetScrollbackSize(1)
			answers := make(chan struct{})
			go func() { // it answers queries, and waits until its answers are read
				io.Copy(io.Discard, other)
				close(answers)
			}()
			other.Write(data)
			other.InputPipe().(io.Closer).Close() // its own Close races with Read
			<-answers
			var wrong []string
			for y := range recordedRows {
				for x, a := range ours.drawnRow(ours.g, y) {
					if a.text == "" {
						continue // the second half of a wide character
					}
					a.style.attrs &^= overlined
					b, ok := vtCell(other, x, y)
					if x == recordedCols-1 && b == (drawn{text: " "}) {
						continue // it erases the last column of a full row, see eraseLine
					}
					if ok && a != b {
						wrong = append(wrong, fmt.Sprintf("%d,%d: %+v, x/vt %+v", x, y, a, b))
					}
				}
			}
			if len(wrong) > 0 {
				t.Errorf("%d cells differ:\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), 12)], "\n"))
			}
		})
	}
}

// vtCell returns the content of a cell in x/vt; ok is false if there is nothing to compare.
func vtCell(e *vt.Emulator, x, y int) (drawn, bool) {
	c := e.CellAt(x, y)
	if c == nil {
		return drawn{}, false
	}
	d := drawn{text: c.Content, link: link{c.Link.Params, c.Link.URL}}
	if c.Width == 0 {
		d.text = ""
	}
	d.style = style{fg: vtColor(c.Style.Fg), bg: vtColor(c.Style.Bg), line: vtColor(c.Style.UnderlineColor), underline: c.Style.Underline}
	for i, a := range []attr{bold, faint, italic, blink, fastBlink, inverse, hidden, struck} {
		if c.Style.Attrs&(1<<i) != 0 {
			d.style.attrs |= a
		}
	}
	return d, true
}

func vtColor(c imagecolor.Color) color {
	switch c := c.(type) {
	case nil:
		return 0
	case ansi.BasicColor:
		return palette | color(c)
	case ansi.IndexedColor:
		return palette | color(c)
	}
	r, g, b, _ := c.RGBA()
	return rgb | color(r>>8)<<16 | color(g>>8)<<8 | color(b>>8)
}
