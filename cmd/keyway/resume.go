package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"keyway/internal/keyway"
)

// resumption says how a command inside a workspace continues when its connection has broken: at the
// last mark in its output, or as unmarked says if the guest sends none. A nil one continues nothing.
type resumption struct {
	// unmarked returns the words with which the command continues without a mark. begun and broke
	// say how long it was shown. nil: it does not continue.
	unmarked func(args []string, begun, broke time.Time, told io.Writer) []string
	told     io.Writer // where the user gets a message about it; nil: nowhere
	outOnly  bool      // all marks come on standard output
	ends     bool      // the output moves on before the command itself exits with 255

	word      string // of the marks
	out, errs *keyway.Unmarker
}

// outputs returns the writers for the command's output, which take the marks out of it.
func (r *resumption) outputs(ctx context.Context, out, errs io.Writer, terminal bool) (io.Writer, io.Writer) {
	if r == nil || terminal && runtime.GOOS == "windows" { // ssh needs the console itself
		return out, errs
	}
	r.word = "keyway-" + rand.Text()
	r.out = &keyway.Unmarker{To: unblocked{ctx, out}, Word: r.word}
	if r.errs = r.out; terminal || r.outOnly { // then ssh keeps the user's terminal for its own words
		return r.out, errs
	}
	// Two pipes, also to one file: in a pipe for both streams, ssh writes one of them in the middle of
	// the other one's marks.
	r.errs = &keyway.Unmarker{To: unblocked{ctx, errs}, Word: r.word}
	return r.out, r.errs
}

// unblocked is a writer that does not wait for its reader once ctx has ended.
type unblocked struct {
	ctx context.Context
	to  io.Writer
}

// lastWrite is the time that a write may take after ctx has ended.
const lastWrite = 200 * time.Millisecond

// Write implements io.Writer. An abandoned write may continue, so p must not change after an error.
func (u unblocked) Write(p []byte) (int, error) {
	var n int
	var err error
	written := make(chan struct{})
	go func() {
		n, err = u.to.Write(p)
		close(written)
	}()
	select {
	case <-written:
		return n, err
	case <-u.ctx.Done():
	}
	select {
	case <-written:
		return n, err
	case <-time.After(lastWrite):
		return 0, u.ctx.Err()
	}
}

// options returns the options of ssh with which the request for marks reaches the guest.
func (r *resumption) options() []string {
	if r == nil || r.word == "" {
		return nil
	}
	return []string{"-o", "SendEnv=" + keyway.EnvMarks}
}

// environ returns the request for marks, with the positions at which the output continues. If ssh's
// standard error is a pipe, its proxy command also learns where to show news of the connection.
func (r *resumption) environ() []string {
	if r == nil || r.word == "" {
		return nil
	}
	env := []string{keyway.RequestMarks(r.out, r.errs)}
	if r.errs != r.out {
		env = append(env, ownSSH())
	}
	return env
}

// marked reports whether the output can continue at a mark.
func (r *resumption) marked() bool { return r.word != "" && keyway.Marked(r.out, r.errs) }

// possible reports whether the command can continue.
func (r *resumption) possible() bool { return r != nil && (r.marked() || r.unmarked != nil) }

// mayExit reports whether the command itself may have the exit code that ssh has when its connection
// breaks.
func (r *resumption) mayExit(tries int) bool {
	if r == nil || !r.marked() {
		return tries > 0 // the next run repeats it
	}
	return r.ends && r.out.Moved()
}

// words returns the words with which the command continues.
func (r *resumption) words(args []string, begun, broke time.Time) []string {
	if r.word != "" {
		r.out.Drop()
		r.errs.Drop()
	}
	if !r.marked() {
		return r.unmarked(args, begun, broke, r.told)
	}
	if r.told != nil {
		fmt.Fprintln(r.told, "[the connection broke; the log goes on from there]")
	}
	return args
}

// flush passes on the bytes after the last mark.
func (r *resumption) flush() error {
	if r == nil || r.word == "" {
		return nil
	}
	return errors.Join(r.out.Flush(), r.errs.Flush())
}

// sameWords continues a command by the same words.
func sameWords(args []string, _, _ time.Time, _ io.Writer) []string { return args }

// logsOverlap is how long before the break a log begins that continues by time. Output that was under
// way for less is not lost, and some lines may be repeated.
const logsOverlap = 10 * time.Second

// since continues a log by time.
type since struct {
	begins []string  // the words with which it began; nil: it has not been continued
	from   time.Time // output from before this time has been shown; zero: unknown
}

// words implements resumption.unmarked. A log that was followed for a moment begins again, because
// its earlier lines may not have been shown.
func (s *since) words(args []string, begun, broke time.Time, told io.Writer) []string {
	if s.begins == nil {
		s.begins = args
	}
	if broke.Sub(begun) > shownWhile {
		s.from = broke.Add(-logsOverlap)
	}
	if s.from.IsZero() {
		fmt.Fprintln(told, "[the connection broke; the log begins again]")
		return s.begins
	}
	fmt.Fprintf(told, "[the connection broke; the log goes on %v before that]\n", logsOverlap)
	now := time.Now()
	// The monotonic clock may stand still while the laptop sleeps, and the other one may be set.
	ago := max(now.Sub(s.from), now.Round(0).Sub(s.from.Round(0)))
	words := []string{"logs", "--follow", "--since", (ago + time.Second).String()}
	return slices.Concat(words, s.begins[len(s.begins)-1:]) // the job, which is named
}
