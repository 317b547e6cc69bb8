package kernel

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
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
		if !resumed {
			want = want[2:]
		}
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
