//go:build linux

package holder

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"keyway/internal/screen"
	"keyway/internal/session/wire"
)

// asking returns the queries that an output sends to a terminal.
func asking(output string, at time.Time) (a asked) {
	s := newScreen(wire.Window{Rows: 24, Cols: 80}, 0)
	a.note(s, at)
	_, _ = s.Write([]byte(output))
	a.note(s, at)
	return a
}

// questions has every question that a terminal answers, and answers to them.
var questions = []struct{ question, answer string }{
	{"\x1b[c", "\x1b[?62;22c"},
	{"\x1b[>c", "\x1b[>1;277;0c"},
	{"\x1b[=c", "\x1bP!|00000000\x1b\\"},
	{"\x1bZ", "\x1b[?1;2c"},
	{"\x1b[5n", "\x1b[0n"},
	{"\x1b[6n", "\x1b[24;80R"},
	{"\x1b[6n", "\x1b[1;5R"},
	{"\x1b[?6n", "\x1b[?24;80;1R"},
	{"\x1b[?996n", "\x1b[?997;1n"},
	{"\x1b[?2026$p", "\x1b[?2026;2$y"},
	{"\x1b[4$p", "\x1b[4;2$y"},
	{"\x1b[?u", "\x1b[?1u"},
	{"\x1b[x", "\x1b[2;1;1;112;112;1;0x"},
	{"\x1b[?4m", "\x1b[>4;2m"},
	{"\x1b[?1;1;0S", "\x1b[?1;0;256S"},
	{"\x1b[18t", "\x1b[8;24;80t"},
	{"\x1b[14t", "\x1b[4;600;800t"},
	{"\x1b[21t", "\x1b]lthe title\x1b\\"},
	{"\x1b[>q", "\x1bP>|XTerm(390)\x1b\\"},
	{"\x1bP$qm\x1b\\", "\x1bP1$r0m\x1b\\"},
	{"\x1bP+q544e\x1b\\", "\x1bP1+r544e=787465726d\x1b\\"},
	{"\x1b]11;?\x1b\\", "\x1b]11;rgb:0000/0000/0000\x1b\\"},
	{"\x1b]4;1;?\x07", "\x1b]4;1;rgb:ffff/0000/0000\x07"},
	{"\x1b_Gi=1,a=q;AAAA\x1b\\", "\x1b_Gi=1;OK\x1b\\"},
}

// TestAnswers checks that the answer to a query is recognised once, however it is cut, and that
// keys around it are not changed.
func TestAnswers(t *testing.T) {
	now := time.Now()
	for _, q := range questions {
		sent := "ab" + q.answer + "c"
		for cut := range len(sent) + 1 {
			if cut > 2 && cut < 5 || cut > 0 && cut < len(sent) && sent[cut-1] == esc {
				continue // keys alone, which are not kept back
			}
			var r replies
			r.ask(asking(q.question, now), now)
			typed := string(r.typed([]byte(sent[:cut])))
			if held := len(r.held); held > 0 && cut < 5 {
				t.Errorf("%q holds %d bytes back", sent[:cut], held)
			}
			typed += string(r.typed([]byte(sent[cut:])))
			if typed != "abc" {
				t.Errorf("%q cut at %d: %q was typed", sent, cut, typed)
			}
			if typed = string(r.typed([]byte(sent))); typed != sent {
				t.Errorf("%q when nothing is asked any more: %q was typed", sent, typed)
			}
		}
		// Viewers that were not asked, that came later or that answer too late are ignored.
		for name, ask := range map[string]func(r *replies){
			"nothing": func(*replies) {},
			"before":  func(r *replies) { r.begin(asking(q.question, now)) },
			"late":    func(r *replies) { r.ask(asking(q.question, now), now.Add(answerWithin+1)) },
		} {
			var r replies
			if ask(&r); string(r.typed([]byte(sent))) != sent || len(r.held) > 0 {
				t.Errorf("asked %s: not all of %q was typed", name, sent)
			}
		}
	}
}

func TestNews(t *testing.T) {
	now := time.Now()
	for mode, news := range map[string]string{"1004": "\x1b[I\x1b[O", "2031": "\x1b[?997;1n", "2048": "\x1b[48;24;80;600;800t"} {
		var r replies
		r.ask(asking("\x1b[?"+mode+"h", now), now)
		if typed := string(r.typed([]byte("a" + news + "b" + news))); typed != "ab" {
			t.Errorf("%s: %q was typed", mode, typed)
		}
		r.ask(asking("\x1b[?"+mode+"h\x1b[?"+mode+"l", now), now)
		if typed := string(r.typed([]byte(news))); typed != news {
			t.Errorf("%s: %q was typed", mode, typed)
		}
	}
}

// TestNoKeyIsHeldBack checks that keys that look like the beginning of an answer reach the job, at
// once or when no answer follows.
func TestNoKeyIsHeldBack(t *testing.T) {
	var all strings.Builder
	for _, q := range questions {
		all.WriteString(q.question)
	}
	now := time.Now()
	for _, keys := range []string{
		"\x1b", "\x1b[", "\x1b_", "\x1bP", "\x1b]", "\x1b[A", "\x1bOP", "\x1b[15~", "\x1b[1;5C", "\x1b[97;5u", "\x1b[200~x\x1b[201~", "\x1b[<0;3;4M",
		"\x1b_ls -l\r", "\x1bPwd\r", "\x1b]x\r", "\x1b_G\r", "\x1b]1\r",
	} {
		var r replies
		r.ask(asking(all.String(), now), now)
		if typed := string(r.typed([]byte(keys))); typed != keys {
			t.Errorf("%q: %q was typed, %q is held", keys, typed, r.held)
		}
	}
	for _, keys := range []string{"\x1b_Good", "\x1b]12", "\x1bP1", "\x1b[1", "\x1b]1" + strings.Repeat("1", 2*maxAnswer), "\x1b[" + strings.Repeat("1", screen.MaxSequence)} {
		var r replies
		r.ask(asking(all.String(), now), now)
		typed := string(r.typed([]byte(keys)))
		if len(r.held) > maxAnswer {
			t.Errorf("%d bytes are held", len(r.held))
		}
		if typed += string(r.flush()); typed != keys {
			t.Errorf("%q: %q was typed", keys, typed)
		}
	}
}

// FuzzReplies checks that input without a preceding query is never taken for an answer, and that
// all other input counts as typed.
func FuzzReplies(f *testing.F) {
	f.Add([]byte("a\x1b[?62;22cb\x1b]11;rgb\x1b"), []byte("\\\x1b[1;2Rx"), []byte("\x1b[c\x1b]11;?\x07"))
	f.Add([]byte("\x1b["), bytes.Repeat([]byte("1;"), 100), []byte("\x1b[6n"))
	f.Fuzz(func(t *testing.T, first, second, output []byte) {
		var r replies
		typed := append(bytes.Clone(r.typed(first)), r.typed(second)...)
		all := append(bytes.Clone(first), second...)
		if !bytes.Equal(typed, all) {
			t.Fatalf("%q was typed of %q", typed, all)
		}
		r = replies{}
		r.ask(asking(string(output), time.Now()), time.Now())
		typed = append(bytes.Clone(r.typed(first)), r.typed(second)...)
		if len(r.held) > maxAnswer {
			t.Fatalf("%d bytes are held", len(r.held))
		}
		typed = append(typed, r.flush()...)
		for _, c := range typed {
			at := bytes.IndexByte(all, c)
			if at < 0 {
				t.Fatalf("%q was typed of %q %q", typed, first, second)
			}
			all = all[at+1:]
		}
	})
}
