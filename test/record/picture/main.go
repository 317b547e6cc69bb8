//go:build linux

// Picture runs a command in a terminal and writes what that showed, as it came, to an
// animated SVG file:
//
//	go run ./test/record/picture docs/demo.svg make demo
//
// The picture needs no script and no font of its own. A pause of the command is cut
// to maxPause; nothing else is changed.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/creack/pty"

	"keyway/internal/screen"
)

const (
	cols = 116
	// tall is the number of rows of the terminal: nothing scrolls out of it.
	tall = 200
	// maxPause is the longest pause of the picture, and lastPause how long its end is shown before
	// it starts again.
	maxPause  = 1500 * time.Millisecond
	lastPause = 8 * time.Second
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		log.Fatal("usage: picture FILE COMMAND [ARG…]")
	}
	m, err := record(os.Args[2:])
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(os.Args[1], m.svg(), 0o644); err != nil {
		log.Fatal(err)
	}
}

// movie is the sequence of a terminal's contents: for each row, its contents one after the other.
type movie struct {
	rows [][]span
	// scrolls has the number of used rows over time.
	scrolls []scroll
	length  time.Duration
}

// span is the content of a row from a time on.
type span struct {
	from time.Duration
	text string // with SGR sequences
}

type scroll struct {
	at   time.Duration
	used int
}

// record runs the command and keeps all its output.
func record(argv []string) (*movie, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "MAKEFLAGS=", "MAKELEVEL=")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: tall, Cols: cols})
	if err != nil {
		return nil, err
	}
	defer terminal.Close()
	shown := screen.New(cols, tall, screen.Options{})
	fmt.Fprintf(shown, "\x1b[1;32m$\x1b[0m %s\r\n", strings.Join(argv, " "))
	m := &movie{rows: make([][]span, tall)}
	m.look(shown)
	last := time.Now()
	for buf := make([]byte, 32<<10); ; {
		n, err := terminal.Read(buf)
		if err != nil { // EIO once no process has the other end open
			break
		}
		now := time.Now()
		m.length += min(now.Sub(last), maxPause)
		last = now
		_, _ = os.Stdout.Write(buf[:n])
		_, _ = shown.Write(buf[:n])
		m.look(shown)
	}
	m.length += lastPause
	if shown.Gone() > 0 {
		return nil, errors.Join(fmt.Errorf("%s prints more than %d rows", argv[0], tall), cmd.Wait())
	}
	return m, cmd.Wait()
}

// look adds the terminal's changes.
func (m *movie) look(shown *screen.Screen) {
	for y := range tall {
		row, _ := shown.Row(nil, y)
		spans := m.rows[y]
		if text := string(row); len(spans) == 0 && text != "" || len(spans) > 0 && spans[len(spans)-1].text != text {
			m.rows[y] = append(spans, span{m.length, text})
		}
	}
	if used := shown.Used(); len(m.scrolls) == 0 || m.scrolls[len(m.scrolls)-1].used != used {
		m.scrolls = append(m.scrolls, scroll{m.length, used})
	}
}

// until returns when a span ends: with the next of its row, or with the picture.
func (m *movie) until(row []span, i int) time.Duration {
	if i+1 < len(row) {
		return cmp.Or(row[i+1].from, time.Nanosecond)
	}
	return m.length
}
