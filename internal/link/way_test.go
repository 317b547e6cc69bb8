package link

import (
	"context"
	"errors"
	"log/slog"
	"testing"
)

// TestNodeAfterAnAbandonedAttempt joins a way while the attempt that an
// interrupted command began is still ending: it must not hear of that
// interrupt, but begin an attempt of its own.
func TestNodeAfterAnAbandonedAttempt(t *testing.T) {
	errSecond := errors.New("the second attempt's own answer")
	begun, ending := make(chan struct{}), make(chan struct{})
	attempts := 0
	w := &way{place: "p", log: slog.New(slog.DiscardHandler), old: map[*connection]struct{}{}, start: func(ctx context.Context, a *attempt) (*nodeProcess, error) {
		if attempts++; attempts > 1 {
			return nil, errSecond
		}
		close(begun)
		<-ctx.Done()
		<-ending
		return nil, ctx.Err()
	}}
	defer w.close()

	interrupted, interrupt := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := w.node(interrupted, nil, nil)
		first <- err
	}()
	<-begun
	interrupt()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the interrupted command hears %v", err)
	}

	if _, _, joined := w.join(nil, nil); joined {
		t.Error("an attempt that has been given up was joined")
	}
	second := make(chan error, 1)
	go func() {
		_, err := w.node(t.Context(), nil, nil)
		second <- err
	}()
	close(ending)
	if err := <-second; !errors.Is(err, errSecond) {
		t.Errorf("the next command hears %v, want %v", err, errSecond)
	}
}
