// Package await waits, in tests, for changes that no event announces, such as another process's
// state.
package await

import (
	"strings"
	"testing"
	"time"
)

// Patience bounds the wait for a change that must come. It is far longer than any change takes,
// even on a busy machine.
const Patience = time.Minute

// poll is the interval between two checks of That.
const poll = 10 * time.Millisecond

// That waits until is returns true, and fails the test after Patience. what names the awaited
// event. said returns text that is added to the failure.
func That(t testing.TB, what string, is func() bool, said ...func() string) {
	t.Helper()
	for end := time.Now().Add(Patience); !is(); time.Sleep(poll) {
		if time.Now().Before(end) {
			continue
		}
		var more strings.Builder
		for _, f := range said {
			more.WriteString("\n" + f())
		}
		t.Fatalf("%s: not within %v%s", what, Patience, more.String())
	}
}
