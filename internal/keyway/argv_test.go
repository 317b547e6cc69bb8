package keyway

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func decode(env []string) ([]string, error) {
	var a Argv
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		a.Set(name, value)
	}
	return a.Words()
}

func TestArgvComesBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		words := []string{"x"}
		for range r.IntN(20) {
			word := make([]byte, r.IntN(5000))
			for i := range word {
				word[i] = byte(1 + r.IntN(1<<r.IntN(9)|1)%255)
			}
			words = append(words, string(word))
		}
		if got, err := decode(EncodeArgv(words)); err != nil || !slices.Equal(got, words) {
			t.Fatalf("%q: %q, %v", words, got, err)
		}
	}
}

func TestArgvThatIsNotWhole(t *testing.T) {
	env := EncodeArgv([]string{strings.Repeat("a", 3*argvPiece)})
	for i := range env {
		if got, err := decode(slices.Delete(slices.Clone(env), i, i+1)); err == nil {
			t.Errorf("without piece %d: %d words", i, len(got))
		}
	}
	if _, err := decode([]string{EnvArgv + "0=" + strings.Repeat("a", MaxArgv+1)}); err == nil {
		t.Error("no bound")
	}
	if _, err := decode(nil); err == nil {
		t.Error("nothing")
	}
}

func FuzzArgv(f *testing.F) {
	f.Add("a\x01\x02\x01\x01\x01\x02")
	f.Fuzz(func(t *testing.T, text string) {
		var a Argv
		a.Set(EnvArgv+"0", text)
		words, err := a.Words()
		if err != nil {
			return
		}
		if got, err := decode(EncodeArgv(words)); err != nil || !slices.Equal(got, words) {
			t.Errorf("%q: %q, %v", words, got, err)
		}
	})
}
