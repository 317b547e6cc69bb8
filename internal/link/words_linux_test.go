package link

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

// TestAHostsWordsAreShownWhileOneWaits checks that a host's words are shown while a user waits,
// and again before a question, with the host's name.
func TestAHostsWordsAreShownWhileOneWaits(t *testing.T) {
	w := startWorld(t)
	p := &person{answer: "123456"}
	if _, err := w.client.Place(context.Background(), "asks-slowly", nil, p); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.said) != 1 || p.said[0].Host != "asks-slowly" || !strings.Contains(p.said[0].Text, "https://login.example.org/1") {
		t.Errorf("shown while waiting: %q", p.said)
	}
	if len(p.again) != 1 || p.again[0].Host != "asks-slowly" || !strings.Contains(p.again[0].Text, "https://login.example.org/1") {
		t.Errorf("shown with the question: %q", p.again)
	}
}

// TestAGreetingIsNoNews checks that a host's banner is not shown to a user whose login succeeds at
// once.
func TestAGreetingIsNoNews(t *testing.T) {
	w := startWorld(t)
	p := &person{answer: "123456"}
	if _, err := w.client.Place(context.Background(), "greets", nil, p); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.said) > 0 {
		t.Errorf("shown: %q", p.said)
	}
}

// TestPatienceEndsWithWhoWasSilent checks that the error of a caller whose time has run out names
// the silent host.
func TestPatienceEndsWithWhoWasSilent(t *testing.T) {
	w := startWorld(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // of which the link answers a second early
	defer cancel()
	_, err := w.client.Place(ctx, "silent", nil, &person{})
	if !keyway.Is(err, keyway.Unreachable) || !strings.Contains(err.Error(), "silent") || strings.Contains(err.Error(), "deadline") {
		t.Errorf("got %v", err)
	}
}

// TestManyPlacesBehindOneBastion checks twenty-four places behind one bastion whose sshd drops most
// simultaneous connections.
func TestManyPlacesBehindOneBastion(t *testing.T) {
	i := newInn(t)
	i.sshd("bastion", "MaxStartups 4:100:4")
	const places = 24
	port := i.sshd("gpu", "MaxStartups 100", "ProxyJump bastion")
	for n := range places {
		i.host(fmt.Sprintf("gpu%d", n), "HostName 127.0.0.1", "Port "+port, "ProxyJump bastion")
	}
	i.everywhere()
	var g gate
	var all sync.WaitGroup
	for n := range places {
		all.Go(func() {
			w := &uplink{place: keyway.Place(fmt.Sprintf("gpu%d", n)), log: slog.New(slog.DiscardHandler), old: map[*connection]struct{}{}}
			w.start = func(ctx context.Context, a *attempt) (*nodeProcess, error) {
				leave, err := g.enter(ctx, "bastion")
				if err != nil {
					return nil, err
				}
				knocking, in := context.WithCancel(ctx)
				var watching sync.WaitGroup
				defer watching.Wait()
				defer in()
				watching.Go(func() { a.whenIn(knocking, leave) })
				return i.dialWith(ctx, w.place, "", a.dialling)
			}
			defer w.close()
			a, ctx := &attempt{done: make(chan struct{})}, t.Context()
			for tries := 0; ; tries++ {
				p, err := w.start(ctx, a)
				if err == nil {
					p.stop()
					return
				}
				pause, again := w.again(err, tries)
				if !again {
					t.Errorf("%s: %v", w.place, err)
					return
				}
				_ = sleep.For(ctx, pause)
			}
		})
	}
	all.Wait()
	if left, _ := filepath.Glob(filepath.Join(i.dir, runPrefix+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
