//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"

	"keyway/internal/keyway"
)

// several is the concurrent work of three places.
func several(u *terminalUI) {
	const total = 400
	for done := range int64(total + 1) {
		for place := range 3 {
			u.Progress(keyway.Progress{Message: fmt.Sprintf("copying keyway to gpu%d", place), Done: done, Total: total})
		}
	}
	u.Progress(keyway.Progress{Message: "using docker"})
	u.end()
}

// TestProgressOfSeveral checks that each message, and each quarter of each work, is printed once.
func TestProgressOfSeveral(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	several(newUI(w))
	w.Close()
	told, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for line := range strings.Lines(string(told)) {
		seen[line]++
	}
	if len(seen) != 3*5+1 {
		t.Errorf("%d lines, want the beginning and four quarters of each of three, and one more:\n%s", len(seen), told)
	}
	for line, n := range seen {
		if n != 1 {
			t.Errorf("%d times %q", n, line)
		}
	}
}

// TestSlowWorkIsSaid checks that work is announced if it takes a second, and otherwise not.
func TestSlowWorkIsSaid(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	u := newUI(w)
	u.whenSlow("quick")()
	done := u.whenSlow("stopping %s", "train")
	told := bufio.NewReader(r)
	if line, err := told.ReadString('\n'); line != "stopping train\n" || err != nil {
		t.Errorf("it says %q, %v", line, err)
	}
	done()
	w.Close()
	if rest, err := io.ReadAll(told); len(rest) > 0 || err != nil {
		t.Errorf("then it says %q, %v", rest, err)
	}
}

// TestBarOfSeveral checks that the work of three places takes turns in one line of the terminal.
func TestBarOfSeveral(t *testing.T) {
	master, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	shown := make(chan string)
	go func() {
		text, _ := io.ReadAll(master) // EIO is the end
		shown <- string(text)
	}()
	several(newUI(terminal))
	terminal.Close()
	text := <-shown
	if lines := strings.Count(text, "\n"); lines > 4 {
		t.Errorf("%d lines, want one for each place and one more:\n%q", lines, text)
	}
	if !strings.HasSuffix(text, "using docker\r\n") {
		t.Errorf("the last line is not shown: %q", text)
	}
}
