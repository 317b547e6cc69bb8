package sleep

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestFor(t *testing.T) {
	begin := time.Now()
	if err := For(context.Background(), 5*time.Millisecond); err != nil || time.Since(begin) < 5*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	ended, cancel := context.WithCancel(context.Background())
	time.AfterFunc(5*time.Millisecond, cancel)
	if err := For(ended, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ends: %v", err)
	}
	for range 100 { // also where both are due
		if err := For(ended, 0); !errors.Is(err, context.Canceled) {
			t.Fatalf("a context that has ended: %v", err)
		}
	}
}
