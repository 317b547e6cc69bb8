//go:build linux

package holder

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"keyway/internal/screen"
	"keyway/internal/session/joblog"
	"keyway/internal/session/wire"
)

// flood prints lines until there are n bytes; strange is how many of a thousand are
// not plain.
func flood(random *rand.Rand, n, strange int) []byte {
	lines := []string{
		"step %d loss 0.1\r\n", "\x1b[3%dm coloured \x1b[0m and not\r\n", "\x1b[1;4%dmstays\r\n", "%d\rover\r\n", "no return %d\n",
		"\x1b[38;5;%dm世界 é\x1b[K\x1b[m\r\n", "\t%d\b\b\a\r\n", "%d" + strings.Repeat(" long", 40) + "\r\n", "\r%d bar", "\r\n",
	}
	odd := []string{
		"\x1b[?1049h%d", "\x1b[?1049l%d", "\x1b[2;5r%d", "\x1b[r%d", "\x1b[H%d", "\x1b]2;title %d\a", "\x1b[?45h%d", "\x1b(0%d", "\x1b(B%d",
		"\x1b[?7l%d", "\x1bc%d", "\x1b]8;;u:%d\a", "\x1b[6n%d", "\x1b[3%d", "\x0e%d",
	}
	var b bytes.Buffer
	for b.Len() < n {
		from := lines
		if random.IntN(1000) < strange {
			from = odd
		}
		fmt.Fprintf(&b, strings.ReplaceAll(from[random.IntN(len(from))], "%d", "%[1]d"), random.IntN(8))
	}
	return b.Bytes()
}

// shown returns the complete state of a screen: its contents, its modes, and the lines above.
func shown(s *screen.Screen, lines int) string {
	return string(s.Snapshot(s.History(nil, lines)))
}

// TestADisplayThatSkipsIsTheSame checks that a display that skips output shows the same as one
// that does not.
func TestADisplayThatSkipsIsTheSame(t *testing.T) {
	var skipped atomic.Uint64
	t.Run("seeds", func(t *testing.T) {
		for seed := range uint64(9) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				skipped.Add(skipsTheSame(t, seed))
			})
		}
	})
	if n := skipped.Load(); n < 5_000_000 {
		t.Errorf("only %d bytes were skipped", n)
	}
}

// skipsTheSame compares a display with one that is shown all, and returns how much it
// has skipped, in bytes.
func skipsTheSame(t *testing.T, seed uint64) (skipped uint64) {
	const lines = 500
	random := rand.New(rand.NewPCG(seed, 1))
	log, err := joblog.Create(t.TempDir(), joblog.Kept)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	w := wire.Window{Rows: uint16(2 + random.IntN(30)), Cols: uint16(5 + random.IntN(100))}
	p := newDisplay(newOutput(log), w, func([]byte) {})
	p.screen = newScreen(w, lines)
	whole := newScreen(w, lines)
	strange := int(seed%3) * random.IntN(2)
	for range 2 {
		printed := append(flood(random, 1000, 200), flood(random, 3_000_000, strange)...)
		for rest := printed; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(drainBuffer))
			p.output.append(wire.TTY, rest[:n])
			rest = rest[n:]
		}
		_, _ = whole.Write(printed)
		from, end := p.at, p.at+uint64(len(printed))
		p.mu.Lock()
		for p.at < end {
			before := p.at
			stop := p.skip(end)
			skipped += p.at - before
			p.feed(stop)
		}
		p.mu.Unlock()
		if got, want := shown(p.screen, lines), shown(whole, lines); got != want {
			t.Fatalf("after %d bytes from %d on, of which it was fed some, it shows\n%q, want\n%q", len(printed), from, tail(got), tail(want))
		}
	}
	return skipped
}

func tail(s string) string { return s[max(0, len(s)-1000):] }

// TestADisplayLosesNothing checks that a job waits for the display before output is removed that
// the display has not read.
func TestADisplayLosesNothing(t *testing.T) {
	bounds := joblog.Bounds{Segment: 64 << 10, Records: 1000, Segments: 4}
	log, err := joblog.Create(t.TempDir(), bounds)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p := newDisplay(newOutput(log), wire.Window{Rows: 24, Cols: 80}, func([]byte) {})
	p.output.followed(0)
	var follows sync.WaitGroup
	follows.Go(p.follow)
	whole := newScreen(wire.Window{Rows: 24, Cols: 80}, 0)
	printed := flood(rand.New(rand.NewPCG(1, 2)), 3_000_000, 20)
	_, _ = whole.Write(printed)
	for rest := printed; len(rest) > 0; {
		n := min(len(rest), drainBuffer)
		p.output.room()
		p.output.append(wire.TTY, rest[:n])
		rest = rest[n:]
	}
	p.catchUp()
	if got, want := shown(p.screen, 1000), shown(whole, 1000); got != want {
		t.Errorf("it shows %q, want %q", tail(got), tail(want))
	}
	p.output.end()
	follows.Wait()
}
