//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// screen prints the steps: in colour on a terminal, plain elsewhere.
type screen struct {
	w      io.Writer
	colour bool
	begin  time.Time
	steps  int
}

func newScreen(f *os.File) *screen {
	return &screen{w: f, colour: term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", begin: time.Now()}
}

const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

func (s *screen) paint(style, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// step runs one step and prints its name, its time and its success.
func (s *screen) step(what string, do func() error) error {
	s.steps++
	begin := time.Now()
	if s.colour {
		fmt.Fprintf(s.w, "%s %s", s.paint(dim, fmt.Sprintf("%2d", s.steps)), s.paint(bold, what))
	}
	moving := s.move()
	err := do()
	moving()
	verdict := s.paint(green, "ok")
	if err != nil {
		verdict = s.paint(red, "failed")
	}
	took := fmt.Sprintf("%5.1f s", time.Since(begin).Seconds())
	if s.colour {
		fmt.Fprintf(s.w, "\r%s  %s  %s  %s\x1b[K\n", s.paint(dim, fmt.Sprintf("%2d", s.steps)), took, verdict, s.paint(bold, what))
	} else {
		fmt.Fprintf(s.w, "%2d  %s  %s  %s\n", s.steps, took, verdict, what)
	}
	return err
}

// move adds a dot to the line of a step each second, until the function that it returns
// is called.
func (s *screen) move() (stop func()) {
	if !s.colour {
		return func() {}
	}
	ended := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				fmt.Fprint(s.w, ".")
			}
		}
	})
	return func() {
		close(ended)
		ticking.Wait()
	}
}

// show prints a command's output.
func (s *screen) show(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		fmt.Fprintf(s.w, "                 %s\n", s.paint(dim, strings.TrimRight(line, "\r\n")))
	}
}

func (s *screen) note(format string, args ...any) { s.show(fmt.Sprintf(format, args...)) }

func (s *screen) summary(prompts int) {
	fmt.Fprintf(s.w, "\n%s\n", s.paint(green, fmt.Sprintf("All of it in %.1f s, with %d passphrase prompt, through a stock bastion that died on the way.",
		time.Since(s.begin).Seconds(), prompts)))
}
