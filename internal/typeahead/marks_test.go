package typeahead

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// pasted returns the letters of a terminal's input: in upper case those within a paste.
func pasted(input []byte) string {
	var m Marks
	var letters strings.Builder
	for i, c := range input {
		m.Follow(input[i : i+1])
		switch {
		case c < 'a' || c > 'z':
		case m.Within:
			letters.WriteByte(c - 'a' + 'A')
		default:
			letters.WriteByte(c)
		}
	}
	return letters.String()
}

// TestJoin checks that inputs that take turns keep their own pastes, and that a single input stays
// unchanged.
func TestJoin(t *testing.T) {
	const begins, ends = "\x1b[200~", "\x1b[201~"
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 1))
		var job Marks
		viewers := make([]Marks, 1+random.IntN(3))
		inputs := make([][]byte, len(viewers))
		var joined []byte
		var want strings.Builder
		for range 40 {
			v := random.IntN(len(viewers))
			var p []byte
			for range 1 + random.IntN(3) {
				p = append(p, []string{begins, ends, "x", "yz", "\x1b"}[random.IntN(5)]...)
			}
			before := len(pasted(inputs[v]))
			inputs[v] = append(inputs[v], p...)
			want.WriteString(pasted(inputs[v])[before:])
			joined = append(joined, job.Join(&viewers[v], p, true)...)
		}
		if got := pasted(joined); got != want.String() {
			t.Fatalf("seed %d: %q arrives as %s, want %s", seed, joined, got, want.String())
		}
		if len(viewers) == 1 && !bytes.Equal(joined, inputs[0]) {
			t.Fatalf("seed %d: %q arrives as %q", seed, inputs[0], joined)
		}
	}
}

// TestJoinWithoutMarks checks that a program that requests no marks gets only those that a viewer
// sends, and that another viewer's paste does not extend to it.
func TestJoinWithoutMarks(t *testing.T) {
	var job, a, b Marks
	joined := job.Join(&a, []byte("\x1b[200~x"), false)
	joined = append(joined, job.Join(&b, []byte("y"), false)...)
	joined = append(joined, job.Join(&b, []byte("z"), true)...)
	if want := "\x1b[200~xyz"; string(joined) != want {
		t.Errorf("%q, want %q", joined, want)
	}
}

// FuzzMarks checks that marks are found wherever input is cut.
func FuzzMarks(f *testing.F) {
	f.Add([]byte("a\x1b[200~b\x1b[201~"), 4)
	f.Fuzz(func(t *testing.T, input []byte, cut int) {
		var whole, cutUp Marks
		whole.Follow(input)
		cut = max(0, min(cut, len(input)))
		cutUp.Follow(input[:cut])
		cutUp.Follow(input[cut:])
		if whole != cutUp {
			t.Errorf("%q cut at %d: %v, want %v", input, cut, cutUp, whole)
		}
		if begins := bytes.LastIndex(input, []byte("\x1b[200~")); whole.Within != (begins > bytes.LastIndex(input, []byte("\x1b[201~"))) {
			t.Errorf("%q is within a paste: %v", input, whole.Within)
		}
	})
}
