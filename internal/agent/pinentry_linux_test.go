package agent

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// screen is a terminal on which the test reads and types.
type screen struct {
	tty *os.File
	mu  sync.Mutex
	all bytes.Buffer
}

func newScreen(t *testing.T) (s *screen, name string) {
	t.Helper()
	tty, theirs, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	s = &screen{tty: tty}
	var reading sync.WaitGroup
	reading.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			s.mu.Lock()
			s.all.Write(buf[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { theirs.Close(); tty.Close(); reading.Wait() })
	return s, theirs.Name()
}

func (s *screen) shows(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.all.String(), text)
}

// TestRealPinentries checks questions with the pinentry programs of Debian that need no display.
func TestRealPinentries(t *testing.T) {
	t.Setenv("SSH_ASKPASS", "")
	t.Setenv("DISPLAY", "")
	t.Setenv("WAYLAND_DISPLAY", "")
	t.Setenv("TERM", "xterm")
	for _, c := range []struct {
		program, shown, keys string
		want                 Answer
	}{
		{"pinentry-tty", "[odm]?", "o", Answer{Allow: true}},
		{"pinentry-tty", "[odm]?", "m", Answer{Allow: true, For: 15 * time.Minute}},
		{"pinentry-tty", "[odm]?", "d", Answer{}},
		{"pinentry-tty", "[odm]?", "xd", Answer{}}, // no such button, then no
		{"pinentry-curses", "<Deny>", "\r", Answer{Allow: true}},
		{"pinentry-curses", "<Deny>", "\t\r", Answer{Allow: true, For: 15 * time.Minute}},
		{"pinentry-curses", "<Deny>", "\t\t\r", Answer{}},
	} {
		if _, err := exec.LookPath(c.program); err != nil {
			t.Fatal(err)
		}
		s, name := newScreen(t)
		t.Setenv("GPG_TTY", name)
		type said struct {
			answer Answer
			err    error
		}
		got := make(chan said, 1)
		go func() {
			a, err := (Pinentry{Program: c.program}).Ask(t.Context(), toDB())
			got <- said{a, err}
		}()
		await(t, func() bool { return s.shows(c.shown) && s.shows("log in to db as root") })
		if _, err := s.tty.WriteString(c.keys); err != nil {
			t.Fatal(err)
		}
		c.want.By = c.program
		select {
		case g := <-got:
			if g.answer != c.want || g.err != nil {
				t.Errorf("%s, %q: %+v %v", c.program, c.keys, g.answer, g.err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s, %q: no answer; it shows %q", c.program, c.keys, s.all.String())
		}
	}
}
