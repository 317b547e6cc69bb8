//go:build linux

package words

import (
	"strings"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/session"
)

// keySignals are the keys that a terminal turns into signals. A job without a terminal gets the
// signal itself.
var keySignals = map[string]unix.Signal{"\x03": unix.SIGINT, "\x1c": unix.SIGQUIT, "\x1a": unix.SIGTSTP}

// parseSignal reads SIGTERM or, where a signal is expected, TERM. Another word that begins with
// SIG is an error, not text.
func parseSignal(word string) (sig unix.Signal, ok bool, err error) {
	upper := strings.ToUpper(word)
	if !strings.HasPrefix(upper, "SIG") {
		return 0, false, nil
	}
	if sig = session.SignalNum(upper); sig == 0 {
		return 0, false, keyway.Errorf(keyway.Usage, "%s is not a signal", word).
			Hint("for example: SIGINT, SIGTERM, SIGKILL, SIGUSR1; to type the word itself: keyway send --text NAME %s", word)
	}
	return sig, true, nil
}
