package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"keyway/internal/agent"
	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/link"
	"keyway/internal/plain"
)

// terminalUI writes news to standard error and asks questions on the terminal. Standard output is
// for answers only.
type terminalUI struct {
	out   *os.File
	fancy bool // out is a terminal, on which a line may be rewritten
	quiet bool // no news: ssh runs this process, and its user sees only errors

	mu         sync.Mutex
	last       string // the message shown last
	shown      time.Time
	open       bool // a rewritten line has not been ended
	unfinished bool // that line shows work under way
	// told holds the messages about long work that were printed as lines, each with the number of
	// quarters printed. Several places may work at the same time.
	told map[string]int64
}

func newUI(out *os.File) *terminalUI {
	return &terminalUI{out: out, fancy: term.IsTerminal(int(out.Fd()))}
}

const (
	// redraw is the shortest time between two rewrites of a progress line.
	redraw = 100 * time.Millisecond
	// maxNews bounds a progress message, in characters.
	maxNews = 400
	// maxTold bounds the messages that are remembered to avoid repetition.
	maxTold = 1000
)

// Progress implements link.UI.
func (u *terminalUI) Progress(p keyway.Progress) {
	if u.quiet {
		return
	}
	p.Message = clip(plain.Line(p.Message), maxNews)
	p.Done, p.Total = max(p.Done, 0), max(p.Total, 0)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fancy {
		u.bar(p)
	} else {
		u.line(p)
	}
}

// bar rewrites one line. Work at several places takes turns on it.
func (u *terminalUI) bar(p keyway.Progress) {
	long, done := p.Total > 0, p.Total > 0 && p.Done >= p.Total
	_, begun := u.told[p.Message]
	if (p.Message == u.last || begun) && !done && time.Since(u.shown) < redraw {
		return
	}
	columns, _, err := term.GetSize(int(u.out.Fd()))
	if err != nil || columns < 2 {
		columns = math.MaxInt
	}
	line, bar := progressText(p, columns)
	if p.Message != u.last {
		if !u.unfinished || !long || line != "" && !begun {
			u.endLocked()
		}
		if !begun {
			fmt.Fprint(u.out, line)
		}
	}
	if long {
		u.tell(p.Message, 0)
	}
	u.last, u.shown, u.unfinished = p.Message, time.Now(), long && !done
	if bar != "" {
		fmt.Fprintf(u.out, "\r\x1b[K%s", bar)
		u.open = true
	}
}

// tell records how many quarters of long work have been printed.
func (u *terminalUI) tell(message string, quarters int64) {
	if u.told == nil || len(u.told) >= maxTold {
		u.told = map[string]int64{}
	}
	u.told[message] = quarters
}

// progressText returns the text for p in a window of that many columns. A message that does not fit
// a rewritten line, such as one with an engine's reason, is printed once, as line; bar is the line
// to rewrite.
func progressText(p keyway.Progress, columns int) (line, bar string) {
	message := []rune(p.Message)
	if len(message) >= columns {
		line, message = p.Message+"\n", nil
	}
	bar = string(message)
	if p.Total > 0 {
		const width = 24
		full := int(width * share(p))
		bar += fmt.Sprintf("  %s%s %s of %s", strings.Repeat("█", full), strings.Repeat("░", width-full), size(p.Done), size(p.Total))
	} else if p.Done > 0 {
		bar += "  " + size(p.Done)
	}
	if r := []rune(bar); len(r) >= columns {
		bar = string(r[:columns-1])
	}
	return line, bar
}

// clip returns the first characters of a text, at most so many.
func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// share returns the part of the work that is done, from 0 to 1. Both numbers may have any value.
func share(p keyway.Progress) float64 {
	return float64(min(p.Done, p.Total)) / float64(p.Total)
}

// line prints each message once, and long work at each quarter.
func (u *terminalUI) line(p keyway.Progress) {
	if p.Total <= 0 {
		if p.Message != u.last {
			u.last = p.Message
			fmt.Fprintln(u.out, p.Message)
		}
		return
	}
	told, begun := u.told[p.Message]
	if !begun {
		fmt.Fprintln(u.out, p.Message)
	}
	quarters := max(told, int64(4*share(p)))
	if quarters > told {
		fmt.Fprintf(u.out, "%s: %d%%\n", p.Message, 25*quarters)
	}
	u.tell(p.Message, quarters)
}

// slowNotice is the time after which a command reports why it waits.
const slowNotice = time.Second

// whenSlow prints the message, unless done is called within slowNotice. done must be called before the
// next output.
func (u *terminalUI) whenSlow(format string, args ...any) (done func()) {
	said := make(chan struct{})
	timer := time.AfterFunc(slowNotice, func() {
		defer close(said)
		u.Progress(keyway.Progress{Message: fmt.Sprintf(format, args...)})
	})
	return func() {
		if !timer.Stop() {
			<-said
		}
	}
}

// end ends a rewritten line, so that what follows begins on a line of its own.
func (u *terminalUI) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.endLocked()
}

func (u *terminalUI) endLocked() {
	if u.open {
		fmt.Fprintln(u.out)
		u.open = false
	}
}

// Said implements link.UI. It prints the words even when other news is suppressed: the user may
// be waiting for just that text.
func (u *terminalUI) Said(w api.Words) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.endLocked()
	say(u.out, w)
}

// say prints a host's text, marked as that host's words.
func say(out io.Writer, w api.Words) {
	host, text := plain.Line(w.Host), strings.TrimSpace(plain.Text(w.Text))
	if !strings.Contains(text, "\n") {
		fmt.Fprintf(out, "%s says: %s\n", host, text)
		return
	}
	fmt.Fprintf(out, "%s says:\n", host)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		switch left := len(lines) - 2*shownOfWords; {
		case left <= 1 || i < shownOfWords || i >= shownOfWords+left:
			fmt.Fprintf(out, "  | %s\n", line)
		case i == shownOfWords:
			fmt.Fprintf(out, "  … %d lines are left out\n", left)
		}
	}
}

// shownOfWords is the number of lines shown from each end of a host's text, so that what stands
// above does not scroll away.
const shownOfWords = 20

// Ask implements link.UI. It asks on the controlling terminal, as ssh does.
func (u *terminalUI) Ask(ctx context.Context, q api.Question) (api.Answer, error) {
	tty, err := openTerminal()
	if err != nil && strings.HasPrefix(q.Prompt, link.KeyQuestion) {
		return api.Answer{}, keyway.Errorf(keyway.NoKey, "the agent is locked or does not hold a key that is needed, and there is no terminal to type its passphrase at: “%s”", plain.Line(q.Prompt)).
			Advise(keyway.UnlockNow)
	}
	if err != nil && q.Kind == "" && q.NoKey {
		return api.Answer{}, keyway.Errorf(keyway.NoKey, "the agent is locked or holds no key, and there is no terminal to answer at what ssh asks for instead: “%s”", plain.Line(q.Prompt)).
			Advise(keyway.UnlockNow)
	}
	if program := agent.AskpassProgram(); err != nil && program != "" {
		return askBy(ctx, program, q), nil
	}
	if err != nil {
		return api.Answer{}, keyway.Errorf(keyway.NeedsAnswer, "ssh asks, and there is no terminal to answer at: “%s”", plain.Line(q.Prompt)).
			Hint("answer it once in a terminal, for example by: keyway status PLACE")
	}
	defer tty.Close()
	u.end()
	for _, w := range q.Said {
		say(tty, w)
	}
	fmt.Fprint(tty, promptText(q))
	if q.Kind == "none" {
		fmt.Fprintln(tty)
		return api.Answer{OK: true}, nil
	}
	fmt.Fprint(tty, " ")
	text, err := readAnswer(ctx, tty, q.Kind == "")
	if err != nil {
		return api.Answer{}, nil
	}
	ok := q.Kind != "confirm" || isYes(text)
	return api.Answer{OK: ok, Text: text}, nil
}

// sshsOwn is the kind of a question that is ssh's own in every line: whether to accept a host's
// key.
const sshsOwn = "text"

// promptText returns a question as it is shown: with the host that it is for, and each line
// marked as the host's, because a host may choose any words.
func promptText(q api.Question) string {
	prompt := strings.TrimSpace(plain.Text(q.Prompt))
	if q.Host != "" {
		prompt = plain.Line(q.Host) + ": " + prompt
	}
	if q.Kind == sshsOwn {
		return prompt
	}
	return strings.ReplaceAll(prompt, "\n", "\n  | ")
}

// readAnswer reads a line, without echo if it is secret.
func readAnswer(ctx context.Context, tty *os.File, secret bool) (string, error) {
	state, err := term.GetState(int(tty.Fd()))
	if err != nil {
		return "", err
	}
	type result struct {
		text string
		err  error
	}
	read := make(chan result, 1)
	go func() { // a read from a terminal cannot be cancelled: the goroutine ends with the process
		if secret {
			b, err := term.ReadPassword(int(tty.Fd()))
			fmt.Fprintln(tty)
			read <- result{string(b), err}
			return
		}
		line, err := bufio.NewReader(io.LimitReader(tty, 4096)).ReadString('\n')
		read <- result{strings.TrimRight(line, "\r\n"), err}
	}()
	select {
	case r := <-read:
		return r.text, r.err
	case <-ctx.Done():
		term.Restore(int(tty.Fd()), state)
		fmt.Fprintln(tty)
		return "", ctx.Err()
	}
}

func isYes(s string) bool {
	s = strings.ToLower(strings.TrimSpace(s))
	return s == "y" || s == "yes"
}

// size returns n bytes in the unit that fits.
func size(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefixes := float64(n)/unit, "kMGTPE"
	for value >= unit && len(prefixes) > 1 {
		value, prefixes = value/unit, prefixes[1:]
	}
	return fmt.Sprintf("%.1f %cB", value, prefixes[0])
}

// age returns d in the unit that fits.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
