package screen

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// words lists the output of random programs; # is a small number.
var words = []string{
	"a", "bc", "text ", " ", "世", "界", "e\u0301", "\u0301", "👨‍👩‍👧", "\u200d", "🇩", "🇪", "❤", "\ufe0f", "👍", "🏽", "\xe4\xb8", "\xff",
	"\r", "\n", "\r\n", "\b", "\t", "\x0e", "\x0f", "\x1b7", "\x1b8", "\x1bD", "\x1bM", "\x1bE", "\x1bH", "\x1b6", "\x1b9", "\x1bN", "\x1b(0", "\x1b(B", "\x1b)0", "\x1b*0", "\x1bn", "\x1bo", "\x1b#8", "\x1b=",
	"\x1b[#;#H", "\x1b[#A", "\x1b[#B", "\x1b[#C", "\x1b[#D", "\x1b[#G", "\x1b[#d", "\x1b[#I", "\x1b[#Z",
	"\x1b[#@", "\x1b[#P", "\x1b[#L", "\x1b[#M", "\x1b[#X", "\x1b[#S", "\x1b[#T", "\x1b[#b", "\x1b[J", "\x1b[1J", "\x1b[2J", "\x1b[3J", "\x1b[K", "\x1b[1K", "\x1b[2K",
	"\x1b[# @", "\x1b[# A", "\x1b[#'}", "\x1b[#'~",
	"\x1b[#;#r", "\x1b[#;#s", "\x1b[?69h", "\x1b[?69l", "\x1b[?6h", "\x1b[?6l", "\x1b[?7l", "\x1b[?7h", "\x1b[4h", "\x1b[4l", "\x1b[?45h", "\x1b[?45l",
	"\x1b[?1049h", "\x1b[?1049l", "\x1b[?47h", "\x1b[?47l", "\x1b[?1047h", "\x1b[?1047l", "\x1b[?1048h", "\x1b[?1048l", "\x1b[s", "\x1b[u",
	"\x1b[m", "\x1b[3#m", "\x1b[4#m", "\x1b[1;4:3m", "\x1b[7m", "\x1b[38;2;#;#;#m", "\x1b]8;;u:#\a", "\x1b]8;;\a",
	"\x1b[!p", "\x1bc", "\x1b[g", "\x1b[3g", "\x1b[?5W", "\x1b[>#u", "\x1b[<u", "\x1b[=#;2u", "\x1b[?100#h", "\x1b[?100#l", "\x1b[?2026h", "\x1b[20h", "\x1b[20l", "\x1b[# q", "\x1b[>4;#m",
	"\x1b]2;t#\a", "\x1b[22t", "\x1b[23t", "\x1b]4;#;red\a", "\x1b]11;x\a", "\x1b]104\a", "\x1b]111\a", "\x1b[?#s", "\x1b[?#r",
}

// TestRandomPrograms checks that a snapshot shows the same as the screen, for any output in any
// sizes.
func TestRandomPrograms(t *testing.T) {
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 9))
		cols, rows := 1+random.IntN(12), 1+random.IntN(6)
		s := New(cols, rows, Options{Lines: 50})
		whole := New(cols, rows, Options{Lines: 50})
		var log []string
		for range random.IntN(40) {
			word := words[random.IntN(len(words))]
			for strings.Contains(word, "#") && word != "\x1b#8" {
				word = strings.Replace(word, "#", fmt.Sprint(random.IntN(10)), 1)
			}
			log = append(log, word)
			for i := range len(word) {
				s.Write([]byte(word[i : i+1]))
			}
			whole.Write([]byte(word))
			checkCells(t, s, log)
			if random.IntN(15) == 0 {
				cols, rows = 1+random.IntN(12), 1+random.IntN(6)
				s.Resize(cols, rows)
				whole.Resize(cols, rows)
				log = append(log, fmt.Sprintf("<%dx%d>", cols, rows))
			}
		}
		ok := t.Run("", func(t *testing.T) {
			if d := differences(s, whole); len(d) > 0 {
				t.Errorf("bytes one by one make a difference: %s", d)
			}
			checkSnapshot(t, s)
			checkAttach(t, s)
			checkUndo(t, s)
		})
		if !ok {
			t.Fatalf("seed %d: %q", seed, log)
		}
	}
}

// checkCells checks that no half of a wide character is left, and the recorded properties of rows.
func checkCells(t *testing.T, s *Screen, log []string) {
	t.Helper()
	for _, g := range []*grid{&s.main, &s.alt} {
		for y := range g.rows {
			cells, line := g.row(y), g.lines[y]
			for x, c := range cells {
				switch {
				case c.wide() && (x+1 == g.cols || !cells[x+1].tail()), c.tail() && (x == 0 || !cells[x-1].wide()):
					t.Fatalf("half a character in column %d of row %d after %q", x, y, log)
				case x >= int(line.used) && c != cell{}:
					t.Fatalf("column %d of row %d is in use after %q", x, y, log)
				}
			}
			if line.wrapped && !line.short && cells[g.cols-1].blank() {
				t.Fatalf("row %d wraps with nothing at its end after %q", y, log)
			}
		}
	}
}

// checkAttach checks a snapshot on a terminal with earlier contents.
func checkAttach(t *testing.T, s *Screen) {
	t.Helper()
	other := New(s.cols, s.rows, Options{})
	other.Write([]byte("before\r\n"))
	other.Write(s.Attach(nil, 5))
	if d := differences(s, other); len(d) > 0 {
		t.Errorf("attached: %s", strings.Join(d[:min(len(d), 10)], "\n"))
	}
}

func checkUndo(t *testing.T, s *Screen) {
	t.Helper()
	other := New(s.cols, s.rows, Options{})
	other.Write(s.Snapshot(nil))
	other.Write(s.Undo(nil))
	if rest := other.Undo(nil); len(rest) > 0 {
		t.Errorf("undone by %q, but for %q", s.Undo(nil), rest)
	}
}
