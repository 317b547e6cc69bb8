package kernel

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/journal"
	"keyway/internal/jupyter/wire"
)

// left is a connection that an earlier program has left, or one that is new.
type left struct {
	net.Conn
	sent    string
	resumed bool
}

func (l left) More() bool                         { return false }
func (l left) Mark() (journal.Mark, error)        { return journal.Mark{}, nil }
func (l left) Taken() error                       { return nil }
func (l left) Sending(string)                     {}
func (l left) Sent() (string, bool)               { return l.sent, l.resumed }
func (l left) Known([]journal.Mark) (bool, error) { return false, nil }

func ask(code string) wire.Message {
	return wire.New("page", []byte("{}"), "shell", "execute_request", map[string]any{"code": code})
}

// TestRequestsNotSent sends those that an earlier program has written down only, once and
// in order. On a new connection nobody knows which these are.
func TestRequestsNotSent(t *testing.T) {
	for _, resumed := range []bool{true, false} {
		got := make(chan string, 10)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
			for err == nil {
				var data []byte
				if _, data, err = conn.ReadMessage(); err == nil {
					m, _ := wire.Decode(wire.JSON, false, data)
					got <- m.Head.ID
				}
			}
		}))
		defer server.Close()
		dir := t.TempDir()
		j, err := journal.Open(dir, journal.Default, false)
		if err != nil {
			t.Fatal(err)
		}
		all := []wire.Message{ask("noted"), ask("sent, not noted"), ask("written down"), ask("also")}
		for i, m := range all {
			e, err := j.Begin(m)
			if err == nil && i <= 1 {
				err = e.Trying()
			}
			if err == nil && i == 0 {
				err = e.WasSent()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		j.Close()
		d := websocket.Dialer{NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return left{c, all[1].Head.ID, resumed}, err
		}}
		k, err := Open("kernel", Options{Dir: dir, Limits: journal.Default, Left: resumed, Logf: t.Logf, Finished: func(*Kernel) {},
			Dial: func(ctx context.Context, _ string) (*websocket.Conn, *http.Response, error) {
				return d.DialContext(ctx, strings.Replace(server.URL, "http", "ws", 1), nil)
			}}, func(*Kernel) {})
		if err != nil {
			t.Fatal(err)
		}
		now := ask("now")
		if !k.toKernel(&client{}, now) {
			t.Fatal("refused")
		}
		want := []wire.Message{all[2], all[3], now}
		for _, m := range want {
			select {
			case id := <-got:
				if id != m.Head.ID {
					t.Errorf("resumed %v: %s came in place of %s", resumed, id, m.Content)
				}
			case <-time.After(time.Minute):
				t.Fatalf("resumed %v: %s is not sent", resumed, m.Content)
			}
		}
		k.Close()
	}
}

// TestUntold returns cells that took long and whose end no client has confirmed, once.
func TestUntold(t *testing.T) {
	k, err := Open("kernel", Options{Dir: t.TempDir(), Limits: journal.Default, Logf: t.Logf, Finished: func(*Kernel) {}, Long: time.Minute,
		Dial: func(ctx context.Context, _ string) (*websocket.Conn, *http.Response, error) {
			<-ctx.Done()
			return nil, nil, ctx.Err()
		}}, func(*Kernel) {})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	run := func(took time.Duration, status string) {
		request := ask("code")
		if !k.toKernel(&client{}, request) {
			t.Fatal("refused")
		}
		say := func(channel, kind string, at time.Time, content any) {
			m := wire.New("kernel", request.Header, channel, kind, content)
			m.Header = fmt.Appendf(nil, `{"msg_id":%q,"session":"kernel","msg_type":%q,"date":%q}`, m.Head.ID, kind, at.Format(time.RFC3339Nano))
			k.fromKernel([]wire.Message{m}, journal.Mark{}, false)
		}
		say("iopub", "execute_input", began, map[string]any{"execution_count": 1})
		say("shell", "execute_reply", began, map[string]any{"status": status})
		say("iopub", "status", began.Add(took), map[string]string{"execution_state": "idle"})
	}
	untold := func(want ...string) {
		t.Helper()
		var got []string
		for _, n := range k.Untold(time.Minute) {
			got = append(got, fmt.Sprint(n.Result, " ", n.Seconds))
		}
		if !slices.Equal(got, want) {
			t.Errorf("untold are %q, not %q", got, want)
		}
	}
	run(59*time.Second, "ok")
	untold()
	run(2*time.Minute, "ok")
	run(time.Minute, "error")
	untold("finished 120", "failed 60")
	untold()
	run(time.Hour, "ok")
	k.mu.Lock()
	k.receipt("page", k.seq)
	k.mu.Unlock()
	untold()
	run(-time.Hour, "ok") // a clock that was set
	untold()
}
