package wire

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
)

// piece is the size of pieces here.
const piece = 100

// written are characters as JSON may encode them, with unpaired surrogates.
var written = []string{"a", "é", "🙂", `\n`, `\"`, `\\`, `\u0041`, `\ud83d\ude42`, `\uD83D\uDE42`, `\ud83d`, `\ude42`, `\u00e9`, `\/`, `\ud83dx`, `\ud83d\n`}

// TestTexts checks that the pieces of a large text together are the text as encoding/json reads it.
func TestTexts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		var text strings.Builder
		for text.Len() < 3*piece+i {
			text.WriteString(written[r.IntN(len(written))])
		}
		for _, content := range []string{
			`{"name":"stderr","text":"` + text.String() + `"}`,
			`{"text":"` + text.String() + `","name":"stderr"}`,
			`{"text":"first","text":"` + text.String() + `","name":"stderr"}`,
			`{"text":"` + text.String() + `","text":null,"name":"stderr"}`,
		} {
			checkTexts(t, content)
		}
	}
	for _, content := range []string{`{"text":"x"}`, `{}`, `{"text":1}`, `{"text":null}`, `{"name":7,"text":"x"}`, `{"text":"x","text":null}`, `{"text":"x","text":1}`,
		`{"text":1,"text":"x"}`, `{"name":7,"name":"a","text":"x"}`, `{"name":"a","name":null,"text":"x"}`, `{"\u006eame":"a","te\u0078t":"x"}`, `{"Text":"x","NAME":"a"}`} {
		checkTexts(t, content)
		checkTexts(t, strings.Replace(content, "{", `{"more":"`+strings.Repeat("x", piece)+`",`, 1))
	}
}

func checkTexts(t *testing.T, content string) {
	t.Helper()
	m := Message{Channel: "iopub", Head: Head{Type: "stream"}, Content: []byte(content)}
	var got Text
	largest := 0
	ok := m.texts(piece, func(p Text) {
		got.Name, got.Text, largest = p.Name, got.Text+p.Text, max(largest, len(p.Text))
	})
	want, valid := judge(content)
	if read, ok := m.Stream(); ok != valid || ok && read != want {
		t.Fatalf("%.100q: %v %.100q, not %v %.100q", content, ok, read, valid, want)
	}
	if ok != valid || got.Text != want.Text || got.Text != "" && got.Name != want.Name {
		t.Fatalf("%.100q: %v %d bytes of %q, not %v %d of %q", content, ok, len(got.Text), got.Name, valid, len(want.Text), want.Name)
	}
	if largest > 3*(piece+12) { // a byte that is no UTF-8 becomes three
		t.Fatalf("a piece of %d bytes", largest)
	}
}

// judge reads the content of a stream message with encoding/json: the last of two members with one
// name counts, and null is no text.
func judge(content string) (want Text, ok bool) {
	var all map[string]any
	if json.Unmarshal([]byte(content), &all) != nil {
		return Text{}, false
	}
	for name, to := range map[string]*string{"name": &want.Name, "text": &want.Text} {
		switch v := all[name].(type) {
		case nil:
		case string:
			*to = v
		default:
			return Text{}, false
		}
	}
	return want, true
}

func FuzzTexts(f *testing.F) {
	f.Add(`\ud83d\ude42`, 3)
	f.Fuzz(func(t *testing.T, text string, shift int) {
		checkTexts(t, `{"name":"stdout","text":"`+strings.Repeat("a", piece-min(max(shift, 0), 12))+text+`"}`)
	})
}
