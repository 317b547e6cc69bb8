//go:build linux

package mux

import (
	"bufio"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// answerBound is the time for which a session waits for its first answer if the connection to the
	// guest has no working path; an ssh that connects by itself waits as long.
	answerBound = 30 * time.Second
	// reasonTime bounds the wait for the reason of an end: the link tells it after the end itself.
	reasonTime = 5 * time.Second
)

// Screen shows the user of one client news of the connection.
type Screen interface {
	Show(text string) // of a stall; empty: it is over
	Say(text string)  // why the connection has ended, in lines
	Close()
}

// news has the link's reports about the connection to a guest (docs/PROTOCOL.api.md). With a link
// that sends none, the connection never stalls, and ends without a reason.
type news struct {
	from    *os.File           // nil: no reports
	changed func(stalled bool) // called when that changes, and while it lasts
	told    chan struct{}      // closed when nothing more follows

	mu      sync.Mutex
	stalled bool
	text    string // of the stall, for a terminal; empty: it has just begun
	why     string // it does not end
	reason  string // of the end
	ended   bool   // the link has told of the end
	began   bool   // the link tells
	screens map[Screen]struct{}
}

func newNews(from *os.File, changed func(bool)) *news {
	return &news{from: from, changed: changed, told: make(chan struct{}), screens: map[Screen]struct{}{}}
}

// read reads the link's reports until the end, or until close.
func (n *news) read() {
	defer close(n.told)
	if n.from == nil {
		return
	}
	in := bufio.NewScanner(n.from)
	for in.Scan() {
		n.take(in.Text())
		n.changed(n.isStalled())
	}
}

func (n *news) close() {
	if n.from != nil {
		n.from.Close()
	}
}

func (n *news) take(line string) {
	fields := strings.Split(line, "\t")
	n.mu.Lock()
	defer n.mu.Unlock()
	n.began = true
	switch {
	case fields[0] == "ended":
		n.ended, n.reason = true, strings.Join(fields[1:], "\n")
		return
	case fields[0] == "stalled" && len(fields) == 3:
		n.stalled, n.text, n.why = true, fields[1], fields[2]
	case line == "":
		n.stalled, n.text, n.why = false, "", ""
	}
	for s := range n.screens {
		s.Show(n.text)
	}
}

func (n *news) isStalled() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stalled
}

// noAnswer returns the reason for a session that is not answered, while the connection stalls.
func (n *news) noAnswer() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.why != "" {
		return n.why
	}
	return n.text
}

// follow shows news on s until unfollow.
func (n *news) follow(s Screen) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.screens[s] = struct{}{}
	if n.text != "" {
		s.Show(n.text)
	}
}

func (n *news) unfollow(s Screen) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.screens, s)
}

// whyEnded waits until the link has told the reason for which the connection has ended. killed is the
// reason if the link did not live to tell.
func (n *news) whyEnded(killed string) string {
	select {
	case <-n.told:
	case <-time.After(reasonTime):
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.began && !n.ended && n.reason == "" {
		return killed
	}
	return n.reason
}

// waiter waits for a guest's first answer.
type waiter struct {
	since     time.Time
	abandoned chan string // receives the reason for which there will be none
}

// wait registers a waiter until answered.
func (g *guest) wait() *waiter {
	w := &waiter{time.Now(), make(chan string, 1)}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiters[w] = struct{}{}
	return w
}

func (g *guest) answered(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.waiters, w)
}

// abandon ends the waiters that have waited for answerBound.
func (g *guest) abandon(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for w := range g.waiters {
		if time.Since(w.since) >= answerBound {
			w.abandoned <- why
			delete(g.waiters, w)
		}
	}
}

// during runs f, which waits for the guest. It reports false if it was abandoned before: f then
// continues by itself, and a channel that it then leaves in opens is closed.
func (w *waiter) during(g *guest, f func(), opens *ssh.Channel) bool {
	done, left := make(chan struct{}), make(chan struct{})
	g.work.Go(func() {
		f()
		select {
		case done <- struct{}{}:
		case <-left:
			if opens != nil && *opens != nil {
				(*opens).Close()
			}
		}
	})
	select {
	case <-done:
		return true
	case <-w.abandoned:
		close(left)
		return false
	}
}
