//go:build linux

package words

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keyway/internal/session/holder"
	"keyway/internal/session/joblog"
	"keyway/internal/session/wire"
)

// checked reads numbered lines, and returns the number of bytes that are correct.
type checked struct {
	next, bytes int
	wrong       error
	line        []byte
}

// numbers prints lines of a hundred bytes with their numbers.
func numbers(lines int) string {
	return fmt.Sprintf(`awk 'BEGIN { for (n = 0; n < %d; n++) printf "%%-99d\n", n }'`, lines)
}

func (c *checked) Write(p []byte) (int, error) {
	c.bytes += len(p)
	c.line = append(c.line, p...)
	for len(c.line) >= 100 && c.wrong == nil {
		if want := fmt.Sprintf("%-99d\n", c.next); string(c.line[:100]) != want {
			c.wrong = fmt.Errorf("instead of line %d comes %q", c.next, c.line[:100])
		}
		c.line = c.line[100:]
		c.next++
	}
	return len(p), nil
}

// TestRunInAPipeGetsAll checks that a job in a pipe loses no output, however slow the reader is and
// however much the job prints: more than the log keeps.
func TestRunInAPipeGetsAll(t *testing.T) {
	t.Setenv(envSmallLogs, "1")
	const lines = 500_000 // 50 MB
	l := newLab(t)
	for name, renews := range map[string]int{"slow": 0, "renewed": 3} {
		cmd := l.cmd("run", "-T", "--as", "x", "--", "sh", "-c", numbers(lines))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		within(t, "the first bytes", func() { _, err = io.ReadFull(out, make([]byte, 100)) })
		waitFor(t, "the job to wait", func() bool { return l.stalls("x") })
		for range renews {
			if err := holder.Renew(l.home, nextVersion(t)); err != nil {
				t.Fatal(err)
			}
		}
		got := checked{next: 1}
		err = copyWithin(t, &got, out)
		if code := cmd.Wait(); err != nil || code != nil || got.wrong != nil || got.next != lines {
			t.Errorf("%s: %d lines, %v, %v; %v", name, got.next, err, code, got.wrong)
		}
	}
}

// TestPipesBothWaysWithALateReader checks that a job with pipes on both sides continues when its
// reader comes late. The viewer's reports about output do not wait behind input.
func TestPipesBothWaysWithALateReader(t *testing.T) {
	t.Setenv(envSmallLogs, "1")
	const lines = 400_000 // 40 MB
	l := newLab(t)
	for range 2 {
		source := exec.Command("sh", "-c", numbers(lines))
		cmd := l.cmd("run", "-T", "--as", "x", "--", "cat")
		in, err1 := source.StdoutPipe()
		out, err2 := cmd.StdoutPipe()
		cmd.Stdin = in
		if err := errors.Join(err1, err2, source.Start(), cmd.Start()); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the job to wait", func() bool { return l.stalls("x") })
		var got checked
		err := copyWithin(t, &got, out)
		if err := errors.Join(err, cmd.Wait(), source.Wait()); err != nil || got.wrong != nil || got.next != lines {
			t.Errorf("%d lines, %v; %v", got.next, err, got.wrong)
		}
	}
}

// TestTheLogBesideInput checks that a viewer may read output from the log until it sends input, and
// again when its input has ended. In between, its reports may wait behind input that the job does
// not read.
func TestTheLogBesideInput(t *testing.T) {
	const first, second, third = 200_000, 300_000, 8_000_000
	l := newLab(t)
	l.start("run", "-T", "--as", "x", "--", "sh", "-c", fmt.Sprintf(
		"head -c %d /dev/zero; read go; head -c %d /dev/zero; cat; head -c %d /dev/zero", first, second, third))
	waitFor(t, "the first output", func() bool { return l.logSize("x") >= first })
	conn := l.dial("x", wire.Hello{Flags: wire.FlagInput | wire.FlagOutput | wire.FlagWhole | wire.FlagLog})
	var m wire.Message
	read := func() {
		t.Helper()
		var err error
		if within(t, "a message", func() { m, err = conn.Read() }); err != nil {
			t.Fatal(err)
		}
	}
	if read(); m != (wire.Logged{Stream: wire.Stdout, Count: first}) {
		t.Fatalf("of what is in the log it is told %T %+v", m, m)
	}
	say := func(m ...wire.Message) {
		t.Helper()
		if err := conn.Write(m...); err != nil {
			t.Fatal(err)
		}
	}
	say(wire.Input{Data: []byte("go\n")}, wire.Passed{Offset: first})
	for at := uint64(first); at < first+second; {
		switch read(); m := m.(type) {
		case wire.Live:
		case wire.Output:
			at += uint64(len(m.Data))
		default:
			t.Fatalf("at %d, while it sends input, it gets %T", at, m)
		}
	}
	say(wire.EOF{})
	waitFor(t, "the last output", func() bool { return l.logSize("x") >= first+second+third })
	for told := false; !told; {
		switch read(); m := m.(type) {
		case wire.Output, wire.Live:
		case wire.Logged:
			say(wire.Passed{Offset: m.Offset + uint64(m.Count)})
			told = true
		default:
			t.Fatalf("after its input it gets %T", m)
		}
	}
}

// TestTheLogAtTheEndOfInput checks that output that a viewer has passed on counts, however close
// to its input and the end of that.
func TestTheLogAtTheEndOfInput(t *testing.T) {
	const printed = 200_000
	passed := wire.Passed{Offset: printed}
	for name, said := range map[string][]wire.Message{
		"passed, then the end":        {passed, wire.EOF{}},
		"input, passed, then the end": {wire.Input{Data: []byte("x")}, passed, wire.EOF{}},
		"the end, then passed":        {wire.EOF{}, passed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			for round := range 10 {
				job := fmt.Sprint("x", round)
				l.start("run", "-T", "--as", job, "--", "sh", "-c", fmt.Sprintf("head -c %d /dev/zero; cat", printed))
				waitFor(t, "the output", func() bool { return l.logSize(job) >= printed })
				conn := l.dial(job, wire.Hello{Flags: wire.FlagInput | wire.FlagOutput | wire.FlagWhole | wire.FlagLog})
				var m wire.Message
				var err error
				within(t, "news of the log", func() { m, err = conn.Read() })
				if _, told := m.(wire.Logged); !told {
					t.Fatalf("%T, %v", m, err)
				}
				if err := conn.Write(said...); err != nil {
					t.Fatal(err)
				}
				within(t, "the end", func() {
					for ended := false; err == nil && !ended; {
						m, err = conn.Read()
						_, ended = m.(wire.Ended)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
			}
		})
	}
}

// copyWithin copies all of from. Each piece must arrive within a minute; the whole may take longer
// on a busy machine.
func copyWithin(t testing.TB, to io.Writer, from io.Reader) (err error) {
	t.Helper()
	for err == nil {
		within(t, "more output", func() { _, err = io.CopyN(to, from, 1<<20) })
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// waitFor polls a condition.
func waitFor(t testing.TB, what string, is func() bool) {
	t.Helper()
	within(t, what, func() {
		for !is() {
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// stalls reports whether the log of a session has stopped growing.
func (l *lab) stalls(name string) bool {
	before := l.logSize(name)
	time.Sleep(300 * time.Millisecond)
	return before > 8<<20 && l.logSize(name) == before
}

// logSize returns the number of bytes of a session's output that are in its log.
func (l *lab) logSize(name string) (n uint64) {
	if r, closeLog, err := joblog.Open(filepath.Join(l.Dir, name)); err == nil {
		n = r.Size
		closeLog()
	}
	return n
}

// TestAJobWhoseReaderGoesGoesOn checks that a job continues when its reader is gone.
func TestAJobWhoseReaderGoesGoesOn(t *testing.T) {
	t.Setenv(envSmallLogs, "1")
	l := newLab(t)
	cmd := l.cmd("run", "-T", "--as", "x", "--", "sh", "-c", numbers(500_000)+"; exit 3")
	out, err := cmd.StdoutPipe() // never read
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the job to wait", func() bool { return l.stalls("x") })
	_ = cmd.Process.Kill()
	out.Close()
	_ = cmd.Wait()
	if r := l.keyway("wait", "x"); r.code != 3 {
		t.Errorf("%+v", r)
	}
}

// TestWhoFollowsTooSlowlyIsTold checks that a viewer that watches through a pipe may miss output.
// It then prints how much, and exits with an error.
func TestWhoFollowsTooSlowlyIsTold(t *testing.T) {
	t.Setenv(envSmallLogs, "1")
	l := newLab(t)
	fifo := l.fifo()
	const lines = 500_000
	l.ok("run", "-d", "--as", "x", "--", "sh", "-c", "cat "+fifo+"; "+numbers(lines)+"; echo end")
	for _, raw := range []bool{true, false} {
		cmd := l.cmd("logs", "-f", "x")
		if raw {
			cmd.Args = append(cmd.Args, "--raw")
		}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if raw { // the second comes when no more output can be missed
			l.writeFifo(fifo, "begin\n")
			_, _ = io.ReadFull(out, make([]byte, 6))
			l.ok("wait", "x")
		}
		var got bytes.Buffer
		_ = copyWithin(t, &got, out)
		code := 0
		if cmd.Wait() != nil {
			code = cmd.ProcessState.ExitCode()
		}
		if !strings.HasSuffix(got.String(), "\nend\n") {
			t.Errorf("raw %t: it ends in %q", raw, lastPart(got.String()))
		}
		if raw && (code != 1 || !strings.Contains(errs.String(), " bytes skipped]") || !strings.Contains(errs.String(), "missing")) || !raw && code != 0 {
			t.Errorf("raw %t: exit code %d: %s", raw, code, errs.String())
		}
	}
}
