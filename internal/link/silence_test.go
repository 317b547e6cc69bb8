//go:build linux

package link

import (
	"context"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// TestASilentPlaceIsGivenUp checks that a place that accepts the login and then hangs is given up,
// with an error of its own.
func TestASilentPlaceIsGivenUp(t *testing.T) {
	s := starter{silence: 50 * time.Millisecond}
	_, err := s.begin(t.Context(), "gpu1", exec.Command("sleep", "600"), nil, scriptWord, func(keyway.Progress) {})
	if !keyway.Is(err, keyway.Unreachable) || !strings.Contains(err.Error(), "does not answer, for ") {
		t.Errorf("the error is %v", err)
	}
}

// TestAQuestionIsNoSilence checks that a place may be silent while the user is asked.
func TestAQuestionIsNoSilence(t *testing.T) {
	var asked atomic.Int32
	s := starter{silence: 40 * time.Millisecond, asking: func() bool { return asked.Add(1) < 20 }}
	_, err := s.begin(t.Context(), "gpu1", exec.Command("sleep", "600"), nil, scriptWord, func(keyway.Progress) {})
	if !keyway.Is(err, keyway.Unreachable) || asked.Load() < 20 {
		t.Errorf("given up after %d looks at the question: %v", asked.Load(), err)
	}
}

// TestSilenceEndsWithWhoWaits checks that a caller that stops waiting gets that as its error, and
// not the silence.
func TestSilenceEndsWithWhoWaits(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	s := starter{silence: time.Hour}
	_, err := s.begin(ctx, "gpu1", exec.Command("sleep", "600"), nil, scriptWord, func(keyway.Progress) {})
	if err != context.Canceled {
		t.Errorf("the error is %v", err)
	}
}
