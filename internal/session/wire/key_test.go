//go:build linux

package wire

import (
	"strings"
	"testing"

	"keyway/internal/screen"
)

// TestKeysInOtherModes checks that keys of keyboards with more modes are sent as the terminals'
// documents say.
func TestKeysInOtherModes(t *testing.T) {
	kitty, all := screen.Keyboard{Kitty: 1}, screen.Keyboard{Kitty: 9}
	other1, other2 := screen.Keyboard{OtherKeys: 1}, screen.Keyboard{OtherKeys: 2}
	for _, c := range []struct {
		word string
		as   screen.Keyboard
		want string
	}{
		{"Escape", kitty, "\x1b[27u"}, {"C-c", kitty, "\x1b[99;5u"}, {"M-x", kitty, "\x1b[120;3u"}, {"C-i", kitty, "\x1b[105;5u"},
		{"Enter", kitty, "\r"}, {"S-Enter", kitty, "\x1b[13;2u"}, {"C-Left", kitty, "\x1b[1;5D"}, {"Up", kitty, "\x1b[A"}, {"S-a", kitty, "A"},
		{"Enter", all, "\x1b[13u"}, {"C-c", all, "\x1b[99;5u"},
		{"C-c", other1, "\x03"}, {"C-Enter", other1, "\x1b[27;5;13~"}, {"C-1", other1, "\x1b[27;5;49~"}, {"M-x", other1, "\x1bx"},
		{"C-c", other2, "\x1b[27;5;99~"}, {"Enter", other2, "\r"}, {"S-Enter", other2, "\x1b[27;2;13~"},
		{"C-Enter", screen.Keyboard{}, "\r"}, {"BSpace", screen.Keyboard{Backspace: true}, "\b"}, {"BSpace", screen.Keyboard{}, "\x7f"},
		{"Enter", screen.Keyboard{Newline: true}, "\r\n"}, {"S-Tab", screen.Keyboard{}, "\x1b[Z"}, {"BTab", screen.Keyboard{}, "\x1b[Z"},
		{"M-é", screen.Keyboard{}, "\x1bé"},
	} {
		k, ok := ParseKey(c.word)
		if got := string(k.Encode(c.as)); !ok || got != c.want {
			t.Errorf("%s: %q %t, want %q", c.word, got, ok, c.want)
		}
	}
	for _, text := range []string{"text", "C-", "M-", "dc", "ic", "x", "é", "^", "^foo", "C-foo", "X-a", "", "-", "kp", "f13"} {
		if k, ok := ParseKey(text); ok {
			t.Errorf("%s is the key %+v", text, k)
		}
	}
}

func FuzzKeys(f *testing.F) {
	for _, w := range strings.Fields("Up F12 C-Left M-x C-M-S-End KP5 KPEnter BTab ^C C-?") {
		f.Add(w, byte(0), byte(0))
	}
	f.Fuzz(func(t *testing.T, word string, kitty, other byte) {
		k, ok := ParseKey(word)
		if !ok {
			return
		}
		m, err := decode(typeKey, k.append(nil))
		if err != nil || m != k {
			t.Errorf("%q is %+v, and comes back as %v, %v", word, k, m, err)
		}
		if got := k.Encode(screen.Keyboard{Kitty: kitty, OtherKeys: other}); len(got) == 0 || len(got) > 32 {
			t.Errorf("%q is sent as %q", word, got)
		}
	})
}
