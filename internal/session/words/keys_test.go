//go:build linux

package words

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"keyway/internal/session/wire"
)

// sent are the words of keyway send that are compared with tmux's send-keys.
func sentWords() (words []string) {
	named := strings.Fields("Up Down Left Right Home End IC DC PPage NPage F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12")
	words = append(words, named...)
	for _, prefix := range []string{"C-", "M-", "S-", "C-M-", "C-S-", "C-M-S-"} {
		for _, name := range named {
			words = append(words, prefix+name)
		}
	}
	for c := 'a'; c <= 'z'; c++ {
		words = append(words, "C-"+string(c), "M-"+string(c), "C-M-"+string(c))
	}
	words = append(words, strings.Fields("C-@ C-[ C-] C-^ C-_ C-? C-2 C-3 C-4 C-5 C-6 C-7 C-8 C-/ ^C ^[ M-A M-1 C-Space M-Space")...)
	words = append(words, strings.Fields("Enter Tab BTab Space Escape BSpace M-BSpace M-Enter PageUp PgUp PageDown PgDn")...)
	return append(words, strings.Fields("KP0 KP1 KP5 KP9 KP/ KP* KP- KP+ KP. KPEnter")...)
}

// likeXterm are the keys that tmux sends as screen does, or not at all. The TERM of a session is
// xterm's.
var likeXterm = map[string]map[string]string{
	"Home": {"usual": "\x1b[H", "application": "\x1bOH"}, "End": {"usual": "\x1b[F", "application": "\x1bOF"},
	"KPEnter": {"usual": "\r", "application": "\x1bOM"},
	"C-3":     {"usual": "\x1b", "application": "\x1b"}, "C-4": {"usual": "\x1c", "application": "\x1c"}, "C-5": {"usual": "\x1d", "application": "\x1d"},
	"C-7": {"usual": "\x1f", "application": "\x1f"}, "C-8": {"usual": "\x7f", "application": "\x7f"},
}

// TestKeysAreTmuxs checks that the names of keys have the meaning that they have in tmux, in each
// mode of the terminal.
func TestKeysAreTmuxs(t *testing.T) {
	for name, mode := range map[string]string{"usual": `\033[?1l`, "application": `\033[?1h\033=`} {
		t.Run(name, func(t *testing.T) {
			l, dir := newLab(t), t.TempDir()
			program := func(file string) string {
				return fmt.Sprintf(`stty raw -echo; printf '%s armed\r\n'; echo ready >%s.ready; exec cat >%[2]s`, mode, filepath.Join(dir, file))
			}
			tmux := func(args ...string) string {
				t.Helper()
				out, err := exec.Command("tmux", append([]string{"-f", "/dev/null", "-S", filepath.Join(dir, "tmux")}, args...)...).CombinedOutput()
				if err != nil {
					t.Fatalf("tmux %q: %v %s", args, err, out)
				}
				return string(out)
			}
			tmux("new-session", "-d", "-s", "x", program("tmux-got"))
			defer tmux("kill-server")
			l.ok("run", "-d", "-t", "--as", "x", "--", "sh", "-c", program("keyway-got"))
			awaitFile(t, filepath.Join(dir, "tmux-got.ready"), "ready")
			awaitFile(t, filepath.Join(dir, "keyway-got.ready"), "ready")
			within(t, "the mode", func() { // it is in the terminal's queue by now
				for !strings.Contains(l.ok("logs", "x"), "armed") || !strings.Contains(tmux("capture-pane", "-p", "-t", "x"), "armed") {
					time.Sleep(5 * time.Millisecond)
				}
			})
			var words []string
			for _, w := range sentWords() {
				words = append(words, w, "|", "|")
			}
			tmux(append([]string{"send-keys", "-t", "x"}, append(words, "over")...)...)
			l.ok(append(append([]string{"send", "x"}, words...), "over")...)
			want := bytes.Split(awaitFile(t, filepath.Join(dir, "tmux-got"), "over"), []byte("||"))
			got := bytes.Split(awaitFile(t, filepath.Join(dir, "keyway-got"), "over"), []byte("||"))
			if len(got) != len(want) {
				t.Fatalf("%d keys of %d: %q", len(got), len(want), got)
			}
			for i, w := range sentWords() {
				if xterms := likeXterm[w]; len(xterms) > 0 {
					want[i] = []byte(xterms[name])
				}
				if !bytes.Equal(got[i], want[i]) {
					t.Errorf("%s: %q, of tmux %q", w, got[i], want[i])
				}
			}
		})
	}
}

// awaitFile waits until a file ends with a word.
func awaitFile(t *testing.T, path, end string) (data []byte) {
	t.Helper()
	within(t, path, func() {
		for !bytes.HasSuffix(bytes.TrimSpace(data), []byte(end)) {
			time.Sleep(5 * time.Millisecond)
			data, _ = os.ReadFile(path)
		}
	})
	return data
}

// TestKeysWithoutATerminal checks that a job without a terminal gets keys as their text, and the
// keys for signals as signals.
func TestKeysWithoutATerminal(t *testing.T) {
	for word, want := range map[string]wire.Message{
		"Enter": wire.Input{Data: []byte("\n")}, "Up": wire.Input{Data: []byte("\x1b[A")}, "C-c": wire.Signal{Number: 2}, "C-d": wire.EOF{}, "text": wire.Input{Data: []byte("text")}, "KP5": wire.Input{Data: []byte("5")},
	} {
		m, err := frameFor(word, false, false)
		if err != nil || !reflect.DeepEqual(m, want) {
			t.Errorf("%s: %#v, %v", word, m, err)
		}
	}
}
