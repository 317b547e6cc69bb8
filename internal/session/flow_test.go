//go:build linux

package session

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// checked reads what should be the numbers that printed prints, one a line, and says
// how much of it is.
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

// Whoever runs a job in a pipe gets all of it, however slowly they read and however
// much it prints: more than the log keeps.
func TestRunInAPipeGetsAll(t *testing.T) {
	const lines = 4_000_000 // 400 MB
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
			if err := Renew(l.home, nextVersion(t)); err != nil {
				t.Fatal(err)
			}
		}
		got := checked{next: 1}
		within(t, "all output", func() { _, err = io.Copy(&got, out) })
		if code := cmd.Wait(); err != nil || code != nil || got.wrong != nil || got.next != lines {
			t.Errorf("%s: %d lines, %v, %v; %v", name, got.next, err, code, got.wrong)
		}
	}
}

// waitFor asks again and again.
func waitFor(t testing.TB, what string, is func() bool) {
	t.Helper()
	within(t, what, func() {
		for !is() {
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// stalls reports whether the log of a session has grown, and does not any more.
func (l *lab) stalls(name string) bool {
	size := func() (n uint64) {
		if r, closeLog, err := openLog(filepath.Join(l.dir, name)); err == nil {
			n = r.size
			closeLog()
		}
		return n
	}
	before := size()
	time.Sleep(300 * time.Millisecond)
	return before > 64<<20 && size() == before
}

// When they go the job goes on.
func TestAJobWhoseReaderGoesGoesOn(t *testing.T) {
	l := newLab(t)
	cmd := l.cmd("run", "-T", "--as", "x", "--", "sh", "-c", numbers(4_000_000)+"; exit 3")
	out, err := cmd.StdoutPipe() // which nobody reads
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

// Who looks on from a pipe may miss some, is told how much, and ends non-zero.
func TestWhoFollowsTooSlowlyIsTold(t *testing.T) {
	l := newLab(t)
	fifo := l.fifo()
	const lines = 4_000_000
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
		if raw { // the second comes too late to miss anything that is still there
			l.writeFifo(fifo, "begin\n")
			_, _ = io.ReadFull(out, make([]byte, 6))
			l.ok("wait", "x")
		}
		var got bytes.Buffer
		within(t, "the rest", func() { _, _ = got.ReadFrom(out) })
		code := 0
		if cmd.Wait() != nil {
			code = cmd.ProcessState.ExitCode()
		}
		if !strings.HasSuffix(got.String(), "\nend\n") {
			t.Errorf("raw %t: it ends in %q", raw, tail(got.String()))
		}
		if raw && (code != 1 || !strings.Contains(errs.String(), " bytes skipped]") || !strings.Contains(errs.String(), "missing")) || !raw && code != 0 {
			t.Errorf("raw %t: exit code %d: %s", raw, code, errs.String())
		}
	}
}

// Nothing that is waited for is lost: not by full segments or indexes, nor where the
// log cannot be written for a while.
func TestATapeKeepsWhatIsNeeded(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 5))
		log, err := createLog(t.TempDir(), logBounds{segment: 1 << 20, records: 1 + r.Int64N(200), segments: 4})
		if err != nil {
			t.Fatal(err)
		}
		tape := newTape(log)
		now := time.Now()
		tape.now = func() time.Time { return now }
		var printed bytes.Buffer
		var got []byte
		var both sync.WaitGroup
		w, read := tape.waitFor(0), tape.newWatcher(true)
		both.Go(func() {
			buf := make([]byte, maxData)
			for at := uint64(0); ; {
				w.passed(at)
				n, s, err := tape.read(buf[:1+rand.IntN(maxData)], at)
				if _, ended := tape.state(); err != nil && ended {
					return
				} else if err != nil {
					<-read.wake
					continue
				} else if s == lost {
					t.Errorf("seed %d: %d bytes are lost at %d", seed, n, at)
				}
				got, at = append(got, buf[:min(n, maxData)]...), at+n
			}
		})
		for range 200 {
			p := random(r, 1+r.IntN(drainBuffer))
			printed.Write(p)
			tape.room()
			switch r.IntN(20) {
			case 0:
				tape.breakLog(t, os.O_RDONLY)
			case 1:
				tape.breakLog(t, os.O_RDWR)
				tape.mu.Lock()
				now = now.Add(2 * retryEvery)
				tape.mu.Unlock()
			}
			tape.append(stream(1+r.IntN(2)), p)
		}
		tape.end()
		both.Wait()
		if !bytes.Equal(got, printed.Bytes()) {
			t.Fatalf("seed %d: %d bytes of %d, or others", seed, len(got), printed.Len())
		}
		log.close()
	}
}

// breakLog opens the files that are written to anew: where they can only be read, the
// log cannot be written.
func (t *tape) breakLog(tb testing.TB, flags int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := openSegment(t.log.dir, t.log.current().start, flags)
	if err != nil {
		tb.Fatal(err)
	}
	s.records = t.log.current().records
	t.log.segments = append(t.log.segments[:len(t.log.segments)-1:len(t.log.segments)-1], s)
}
