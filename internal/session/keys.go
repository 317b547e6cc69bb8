//go:build linux

package session

import (
	"strings"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// keyNames are the keys that have a name, with what terminals send for them.
var keyNames = map[string]string{
	"enter": "\r", "tab": "\t", "space": " ", "escape": "\x1b", "esc": "\x1b", "backspace": "\x7f",
	"up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "home": "\x1b[H", "end": "\x1b[F",
	"pageup": "\x1b[5~", "pagedown": "\x1b[6~", "insert": "\x1b[2~", "delete": "\x1b[3~",
}

// keys are the bytes a terminal sends for a word of `keyway send`: a key's name,
// C-x, M-x, or else the text itself.
func keys(word string) string {
	if k, ok := keyNames[strings.ToLower(word)]; ok {
		return k
	}
	if rest, ok := strings.CutPrefix(word, "M-"); ok && rest != "" {
		return "\x1b" + keys(rest)
	}
	if c, ok := strings.CutPrefix(word, "C-"); ok && len(c) == 1 {
		switch upper := strings.ToUpper(c)[0]; {
		case upper >= '@' && upper <= '_':
			return string(rune(upper & 0x1f))
		case upper == '?':
			return "\x7f"
		}
	}
	return word
}

// keySignals are the keys that a terminal turns into signals; a job without one
// gets the signal.
var keySignals = map[string]unix.Signal{"\x03": unix.SIGINT, "\x1c": unix.SIGQUIT, "\x1a": unix.SIGTSTP}

// parseSignal reads SIGTERM, or TERM where a signal is expected. A word that
// begins with SIG and is none is an error, not text.
func parseSignal(word string) (sig unix.Signal, ok bool, err error) {
	upper := strings.ToUpper(word)
	if !strings.HasPrefix(upper, "SIG") {
		return 0, false, nil
	}
	if sig = unix.SignalNum(upper); sig == 0 {
		return 0, false, keyway.Errorf(keyway.Usage, "%s is not a signal", word).
			Hint("for example: SIGINT, SIGTERM, SIGKILL, SIGUSR1; to type the word itself: keyway send --text NAME %s", word)
	}
	return sig, true, nil
}
