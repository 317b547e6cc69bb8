package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestAWatcherWatchesOnBetweenQuestions checks that a watcher that shows a question also gets the
// next one. A watcher that disconnects, or never asks again, does not count.
func TestAWatcherWatchesOnBetweenQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b board
		if b.CanAsk() {
			t.Error("somebody watches from the beginning")
		}
		asking, answered := context.WithCancel(t.Context())
		given := make(chan []Question)
		watch := func(ctx context.Context, known ...uint64) {
			go func() { given <- b.next(ctx, known, nil) }()
			synctest.Wait()
		}
		watch(t.Context())
		go func() { _, _ = b.Ask(asking, Question{ID: 1}) }()
		if list := <-given; len(list) != 1 || !b.CanAsk() {
			t.Errorf("given %v, and somebody watches: %t", list, b.CanAsk())
		}
		time.Sleep(between)
		if b.CanAsk() {
			t.Error("it watches although it has not come again")
		}
		hanging, hangUp := context.WithCancel(t.Context())
		watch(hanging, 1)
		answered()
		if list := <-given; len(list) != 0 || !b.CanAsk() {
			t.Errorf("after the answer: given %v, and somebody watches: %t", list, b.CanAsk())
		}
		watch(hanging)
		hangUp()
		if <-given; b.CanAsk() {
			t.Error("it watches although it has hung up")
		}
	})
}
