package mux

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"keyway/internal/unixsock"
)

// told is a Screen that records its texts.
type told struct{ shown []string }

func (s *told) Show(text string) { s.shown = append(s.shown, text) }
func (s *told) Say(text string)  { s.shown = append(s.shown, text) }
func (s *told) Close()           {}

// TestNews checks that no ssh finds a connection that stalls, that terminals are told, and that the
// reason of an end is kept.
func TestNews(t *testing.T) {
	dir := t.TempDir()
	s, err := NewServer(Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.door.Close()
	path := filepath.Join(dir, "train")
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	w := &workspace{name: "train", server: s, listener: l, guest: &guest{waiters: map[*waiter]struct{}{}}}
	s.ready["train"] = w
	w.news = newNews(nil, w.stalls)
	var screen told
	w.news.follow(&screen)
	found := func() bool {
		conn, err := unixsock.Dial(path)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	early, late := w.guest.wait(), w.guest.wait()
	early.since = time.Now().Add(-answerBound)
	for _, c := range []struct {
		line  string
		found bool
	}{{"", true}, {"stalled\t\t", false}, {"stalled\tstalled 3s: redialling gpu1\t", false}, {"", true}, {"", true}, {"a word of a later link", true},
		{"stalled\tstalled 3s: redialling gpu1\tgpu1 is down", false}} {
		w.news.take(c.line)
		w.stalls(w.news.isStalled())
		if found() != c.found {
			t.Errorf("after %q: an ssh finds it: %v", c.line, !c.found)
		}
	}
	if want := []string{"", "", "stalled 3s: redialling gpu1", "", "", "", "stalled 3s: redialling gpu1"}; !slices.Equal(screen.shown, want) {
		t.Errorf("a terminal shows %q", screen.shown)
	}
	select {
	case <-late.abandoned:
		t.Error("what has just begun is given up")
	default:
	}
	select {
	case <-early.abandoned:
	default:
		t.Error("what is not answered is not given up")
	}
	w.retire()
	w.stalls(false)
	if found() || s.ready["train"] != nil {
		t.Error("a retired connection comes back")
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*train")); len(files) > 0 {
		t.Errorf("it leaves %v", files)
	}
}

func TestWhyAConnectionEnded(t *testing.T) {
	for told, want := range map[string]string{
		"": "", "\n": "killed", "\nended\tit was stopped\tstart it\n": "it was stopped\nstart it", "\nended\t\n": "",
		"stalled\tstalled 3s\tdown\n": "killed",
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		n := newNews(r, func(bool) {})
		go func() {
			_, _ = w.WriteString(told)
			w.Close()
		}()
		n.read()
		n.close()
		if why := n.whyEnded("killed"); why != want {
			t.Errorf("%q: %q", told, why)
		}
	}
}

// TestNoNewsAfterTheReason checks that a terminal shows no stall after the reason of the end.
func TestNoNewsAfterTheReason(t *testing.T) {
	w := &workspace{news: newNews(nil, func(bool) {})}
	var screen told
	w.news.follow(&screen)
	c := &control{w: w, screen: &screen}
	c.farewell(nil, "gpu1 is down")
	w.news.take("stalled\tstalled 40s: redialling gpu1\tgpu1 is down")
	if want := []string{"gpu1 is down"}; !slices.Equal(screen.shown, want) {
		t.Errorf("a terminal shows %q", screen.shown)
	}
}
