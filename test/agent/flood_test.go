//go:build linux

package agent

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"keyway/internal/audit"
	"keyway/internal/sshwire"
	"keyway/internal/unixsock"
)

// TestFloodThroughTheForwardedSocket uses the agent once for an allowed request, and then sends
// tens of thousands of others through the forwarded socket. It checks that the use is still in the
// log, that the log is sound, and that the user is served all the time.
func TestFloodThroughTheForwardedSocket(t *testing.T) {
	w := theWorld(t)
	a := w.ours(t, "flooded")
	a.unlock(t)
	s := a.forwardTo(t, w.hops()[2], a.socket)
	if out, err := s.sh("ssh -F config second true"); err != nil {
		t.Fatalf("what is permitted: %v: %s", err, out)
	}
	aloneMu.Lock()
	defer aloneMu.Unlock()
	const total = 30_000
	var sent atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for sent.Load() < total {
				sent.Add(int64(s.askForMuch(t, int(sent.Load()))))
			}
		})
	}
	for sent.Load() < total {
		if out, err := a.add("-l"); err != nil {
			t.Errorf("the user is not served: %v: %s", err, out)
		}
		if t.Failed() {
			break
		}
	}
	all.Wait()
	a.unlock(t)              // the agent logs its counts before a change
	events := a.events(t, 0) // they are verified
	use := slices.IndexFunc(events, func(e audit.Event) bool {
		return e.Event == "sign" && e.Verdict == audit.Allowed && e.Remote && e.To == second
	})
	if use < 0 {
		t.Error("the use that was allowed is not in the log")
	}
	folded := slices.ContainsFunc(events, func(e audit.Event) bool { return e.More > 0 })
	if !folded || len(events) > 1000 {
		t.Errorf("%d requests are %d lines of the log", sent.Load(), len(events))
	}
	var refused uint64
	for _, e := range events {
		if e.Verdict == audit.Denied {
			refused += max(1, e.More)
		}
	}
	if refused < 1000 {
		t.Errorf("of %d requests only %d were refused", sent.Load(), refused)
	}
	fmt.Printf("flood: %d requests sent, %d answered with no before the asker was dropped, %d lines of the log\n", sent.Load(), refused, len(events))
}

// askForMuch sends many requests without waiting for answers, and returns their number.
func (s *session) askForMuch(t *testing.T, from int) int {
	conn, err := unixsock.Dial(s.hop.host.Path(s.socket))
	if err != nil {
		return 0 // the server accepts no more at the moment
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	var requests []byte
	const many = 64
	for i := range many {
		m := sshwire.AppendString([]byte{agentSign}, s.w.key())
		m = sshwire.AppendString(m, s.loginData(strings.Repeat("x", i), fmt.Sprint("user", from+i), "db"))
		requests = sshwire.AppendString(requests, sshwire.AppendUint32(m, 0))
	}
	if _, err := conn.Write(requests); err != nil {
		return 0
	}
	buffer := make([]byte, 4<<10)
	for n := 0; n < many*5; { // an answer is five bytes
		m, err := conn.Read(buffer)
		if n += m; err != nil {
			break
		}
	}
	return many
}
