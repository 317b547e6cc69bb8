//go:build linux

package words

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"keyway/internal/session/holder"
	"keyway/internal/session/wire"
)

// TestKeysOfOthersStandInNoPaste checks that keys that others type during a paste arrive before
// it or after it.
func TestKeysOfOthersStandInNoPaste(t *testing.T) {
	line := strings.Repeat("x", 99) + "\n"
	part := strings.Repeat("y", 40) // of a line, as a slow terminal sends it
	for name, pieces := range map[string][]string{
		"marked":               {"\x1b[200~", line, line, line, "x", "y", "z", line, "\x1b[201~"},
		"marks that are cut":   {"\x1b", "[20", "0~x", "y", "z", "x\x1b[20", "1", "~"},
		"several, marked":      {"\x1b[200~x\x1b[201~\x1b[200~", "y", "z\x1b[201~"},
		"a mark within":        {"\x1b[200~", "\x1b[200~", "x", "\x1b[20", "x", "\x1b[201~"},
		"without marks":        {line, line, line, line, "end"},
		"without marks, slow":  {line, part, line, part, part, "y", line, "end"},
		"without marks, short": {line, "end"},
	} {
		t.Run(name, func(t *testing.T) {
			const rounds, key = 100, "K"
			paste := strings.Join(pieces, "")
			total := rounds * (len(paste) + len(key)*len(pieces))
			l := newLab(t)
			fifo := l.fifo()
			p := l.startTTY(24, 80, "run", "--as", "x", "--", "sh", "-c", fmt.Sprintf("stty raw -echo; echo ready; exec head -c %d >%s", total, fifo))
			p.out.expect(t, "ready")
			read := make(chan []byte)
			go func() { got, _ := os.ReadFile(fifo); read <- got }()
			hello := wire.Hello{Flags: wire.FlagInput | wire.FlagKeys, Rows: 24, Cols: 80}
			a, b := l.dial("x", hello), l.dial("x", hello)
			var inputs []wire.Message
			for _, piece := range pieces {
				inputs = append(inputs, wire.Input{Data: []byte(piece)})
			}
			for range rounds {
				typed := make(chan error, 1)
				go func() {
					var err error
					for range pieces {
						err = b.Write(wire.Input{Data: []byte(key)})
					}
					typed <- err
				}()
				err := a.Write(inputs...)
				if err2 := <-typed; err != nil || err2 != nil {
					t.Fatal(err, err2)
				}
			}
			var got []byte
			within(t, "all that was sent", func() { got = <-read })
			if n := strings.Count(strings.ReplaceAll(string(got), key, ""), paste); n != rounds {
				t.Errorf("%d of %d pastes arrived", n, rounds)
			}
			if n := bytes.Count(got, []byte(paste)); n != rounds {
				t.Errorf("%d of %d pastes arrived in one piece: %.300q", n, rounds, got)
			}
		})
	}
}

// TestAPasteThatStops checks that other viewers can type after a paste that stops, because its end
// never arrives or its viewer has left.
func TestAPasteThatStops(t *testing.T) {
	for name, left := range map[string]bool{"silent": false, "left": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			p := l.startTTY(24, 80, "run", "--as", "x", "--", "sh", "-c", "stty raw -echo; echo ready; dd bs=1 count=7 2>/dev/null | od -An -c | tr -d ' \\n'")
			p.out.expect(t, "ready")
			hello := wire.Hello{Flags: wire.FlagInput | wire.FlagKeys, Rows: 24, Cols: 80}
			a, b := l.dial("x", hello), l.dial("x", hello)
			if err := a.Write(wire.Input{Data: []byte("\x1b[200~")}); err != nil {
				t.Fatal(err)
			}
			if left {
				a.Close()
			}
			if err := b.Write(wire.Input{Data: []byte("k")}); err != nil {
				t.Fatal(err)
			}
			p.out.expect(t, "k")
		})
	}
}

// TestAPasteThatStopsIsEnded checks that the keys of others are no part of a paste that stops, and
// that its rest is, in a program that requests marks.
func TestAPasteThatStopsIsEnded(t *testing.T) {
	next := []string{nextVersion(t), nextVersion(t)}
	const begins, ends = "\x1b[200~", "\x1b[201~"
	for name, c := range map[string]struct {
		leaves, renewed, again bool // again: and once more after the keys of the other
		want                   string
	}{
		"silent":              {false, false, false, begins + "a" + ends + "k" + begins + "b" + ends + "c"},
		"left":                {true, false, false, begins + "a" + ends + "k"},
		"left before renewal": {true, true, false, begins + "a" + ends + "k"},
		"renewed":             {false, true, false, begins + "a" + ends + "k" + begins + "b" + ends + "c"},
		"renewed after":       {false, false, true, begins + "a" + ends + "k" + begins + "b" + ends + "c"},
		"renewed twice":       {false, true, true, begins + "a" + ends + "k" + begins + "b" + ends + "c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			fifo := l.fifo()
			script := fmt.Sprintf("stty raw -echo; printf '\\033[?2004hready'; tee %s.seen | head -c %d >%s", fifo, len(c.want), fifo)
			p := l.startTTY(24, 80, "run", "--as", "x", "--", "sh", "-c", script)
			p.out.expect(t, "ready")
			read := make(chan []byte)
			go func() { got, _ := os.ReadFile(fifo); read <- got }()
			arrived := func(text string) {
				waitFor(t, fmt.Sprintf("the job to have %q", text), func() bool {
					seen, _ := os.ReadFile(fifo + ".seen")
					return strings.Contains(string(seen), text)
				})
			}
			p.keys(begins + "a")
			arrived("a")
			if c.leaves {
				p.kill()
			}
			renew := func(program string) {
				if err := holder.Renew(l.home, program); err != nil {
					t.Fatal(err)
				}
			}
			if c.renewed {
				renew(next[0])
			}
			other := l.dial("x", wire.Hello{Flags: wire.FlagInput | wire.FlagKeys, Rows: 24, Cols: 80})
			if err := other.Write(wire.Input{Data: []byte("k")}); err != nil {
				t.Fatal(err)
			}
			arrived("k")
			if c.again {
				renew(next[1])
			}
			if !c.leaves {
				p.keys("b" + ends + "c")
			}
			var got []byte
			within(t, "all that was sent", func() { got = <-read })
			if string(got) != c.want {
				t.Errorf("%q arrived, want %q", got, c.want)
			}
		})
	}
}

// TestARenewedHolderKnowsOfAPaste checks that the keys of another viewer do not get into a paste
// while the holder is renewed.
func TestARenewedHolderKnowsOfAPaste(t *testing.T) {
	next := []string{nextVersion(t), nextVersion(t)}
	for name, pieces := range map[string][]string{
		"marked":             {"\x1b[200~begun", "on", "end\x1b[201~"},
		"a mark that is cut": {"\x1b[200~begun\x1b[20", "0~x\x1b[2", "01~"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			paste := strings.Join(pieces, "")
			l := newLab(t)
			fifo := l.fifo()
			script := fmt.Sprintf("stty raw -echo; echo ready; tee %s.seen | head -c %d >%s", fifo, len(paste)+len("KK"), fifo)
			p := l.startTTY(24, 80, "run", "--as", "x", "--", "sh", "-c", script)
			p.out.expect(t, "ready")
			read := make(chan []byte)
			go func() { got, _ := os.ReadFile(fifo); read <- got }()
			sent := 0
			for n, piece := range pieces {
				p.keys(piece)
				if sent += len(piece); n == len(pieces)-1 {
					break
				}
				waitFor(t, "the job to have a piece", func() bool {
					seen, _ := os.ReadFile(fifo + ".seen")
					return len(seen) >= sent
				})
				if err := holder.Renew(l.home, next[n%2]); err != nil {
					t.Fatal(err)
				}
				others := l.dial("x", wire.Hello{Flags: wire.FlagInput | wire.FlagKeys, Rows: 24, Cols: 80})
				if err := others.Write(wire.Input{Data: []byte("K")}); err != nil {
					t.Fatal(err)
				}
				others.Close() // or the next paste of this process waits for its input
			}
			var got []byte
			within(t, "all that was sent", func() { got = <-read })
			if !strings.Contains(string(got), paste) || strings.Count(string(got), "K") != 2 {
				t.Errorf("%q arrived, with the paste %q", got, paste)
			}
		})
	}
}
