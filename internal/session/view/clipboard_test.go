//go:build linux

package view

import (
	"regexp"
	"strings"
	"testing"
)

func TestClipboardGuard(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"text", "plain ❝text❞ Â© Ý\n", "plain ❝text❞ Â© Ý\n"},
		{"colour", "\x1b[31mred\x1b[m", "\x1b[31mred\x1b[m"},
		{"title", "a\x1b]0;title\x07b\x1b]2;other\x1b\\c", "a\x1b]0;title\x07b\x1b]2;other\x1b\\c"},
		{"colours 5 and 520", "\x1b]5;1;red\x07\x1b]520;x\x07", "\x1b]5;1;red\x07\x1b]520;x\x07"},
		{"an image of iTerm2", "\x1b]1337;File=x:Q29weQ==\x07", "\x1b]1337;File=x:Q29weQ==\x07"},
		{"set, BEL", "a\x1b]52;c;cm0gLXJm\x07b", "a\x18b"},
		{"set, ST", "a\x1b]52;c;cm0gLXJm\x1b\\b", "a\x18b"},
		{"set, C1", "a\x1b]52;c;cm0gLXJm\x9cb\x1b]52;;x\xc2\x9cc", "a\x18b\x18c"},
		{"query", "\x1b]52;c;?\x07b", "\x18b"},
		{"leading zeros", "\x1b]00052;c;x\x07b", "\x18b"},
		{"C1 introducer", "\x9d52;c;x\x07b\xc2\x9d52;c;x\x07c", "\x18b\x18c"},
		{"cancelled", "\x1b]52;c;x\x18b", "\x18b"},
		{"ended by another sequence", "\x1b]52;c;x\x1b[31mred", "\x18\x1b[31mred"},
		{"one behind the other", "\x1b]52;c;x\x1b]52;c;y\x07b", "\x18\x18b"},
		{"kitty's", "\x1b]5522;type=write;x\x1b\\b", "\x18b"},
		{"iTerm2's", "\x1b]1337;Copy=:eA==\x07b\x1b]1337;CopyToClipboard=x\x07", "\x18b\x18"},
		{"through tmux", "\x1bPtmux;\x1b\x1b]52;c;x\x07\x1b\\b", "\x1bPtmux;\x1b\x18\x1b\\b"},
		{"through screen", "\x1bP\x1b]52;c;x\x07\x1b\\b", "\x1bP\x18\x1b\\b"},
		{"put together", "\x1b\x1b]52;c;x\x07]52;c;y\x07b", "\x1b\x18]52;c;y\x07b"},
		{"in a title", "\x1b]0;\x1b]52;c;x\x07b", "\x1b]0;\x18b"},
		{"a number without end", "\x1b]0000000000000000000000000000000000000052;c;x\x07b", "\x18b"},
		{"controls in the middle", "\x1b\x00]52;c;x\x07a\x1b\x7f]52;x\x07b\x1b\n]52;x\x07c\x1b\x07]52;x\x07d", "\x00\x18a\x7f\x18b\n\x18c\x07\x18d"},
		{"controls in the number", "\x1b]\x0052;c;x\x07a\x1b]5\x002;x\x07b\x1b]52\n;x\x07c\x1b]5\x7f2;x\x07d", "\x18a\x18b\x18c\x18d"},
		{"controls elsewhere", "a\x1b[3\x001m\x1b\x00[m\x00b\x7f", "a\x1b[3\x001m\x00\x1b[m\x00b\x7f"},
		{"modulo 2^32", "\x1b]4294967348;c;x\x07b", "\x18b"},
		{"iTerm2's, as it was", "\x1b]50;Copy=:eA==\x07b\x1b]50;fixed\x07", "\x18b\x1b]50;fixed\x07"},
		{"no number", "\x1b]lx\x1b\\\x1b]\x07b", "\x1b]lx\x1b\\\x1b]\x07b"},
	} {
		for size := 1; size <= len(c.in); size++ {
			if got := guarded([]byte(c.in), size); got != c.want {
				t.Errorf("%s, by %d: %q, want %q", c.name, size, got, c.want)
			}
		}
	}
}

// guarded passes the input in through a guard, in pieces.
func guarded(in []byte, size int) string {
	var g clipboardGuard
	var out []byte
	for len(in) > 0 {
		n := min(size, len(in))
		out = append(out, g.filter(in[:n])...)
		in = in[n:]
	}
	return string(out)
}

// clipboardCommand finds commands in a text from which the controls that do not end a sequence were
// removed.
var (
	clipboardCommand = regexp.MustCompile(`(\x1b\]|\x{9d})0*((52|5522)[^0-9\x07\x18\x1a\x1b]|(1337|50);Copy)`)
	executedControls = regexp.MustCompile(`[\x00-\x06\x08-\x17\x19\x1c-\x1f\x7f]`)
)

// FuzzClipboardGuard checks that no command for the clipboard passes, however the output is cut
// into pieces, and that nothing else is lost.
func FuzzClipboardGuard(f *testing.F) {
	f.Add([]byte("\x1b\x1b]52;c;x\x07]52;c;y\x07\x1b]0;t\x07"), 1)
	f.Add([]byte("\xc2\x9d1337;Copy=:x\x9c\x1b]5522;\x1b\x1b\\"), 3)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		if size < 1 {
			return
		}
		out := guarded(in, size)
		if text := executedControls.ReplaceAllString(out, ""); clipboardCommand.MatchString(text) {
			t.Errorf("%q becomes %q", in, out)
		}
		if whole := guarded(in, len(in)+1); whole != out {
			t.Errorf("%q becomes %q in one piece, and %q by %d", in, whole, out, size)
		}
		if strings.Contains(string(in), "]") || strings.Contains(string(in), "\x9d") || strings.ContainsAny(string(in), "\a") || executedControls.Match(in) {
			return
		}
		if held := len(in) - len(out); held > 1 || held > 0 && !strings.HasPrefix(string(in), out) {
			t.Errorf("%q has no command, and becomes %q", in, out)
		}
	})
}
