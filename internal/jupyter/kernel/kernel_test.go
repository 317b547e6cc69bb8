package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/journal"
	"keyway/internal/jupyter/wire"
)

// left is a connection, which an earlier program has left or which is new.
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

// connect returns a kernel that connects.
func connect(o Options) (*Kernel, error) {
	k, err := Read("kernel", o)
	if err == nil {
		k.Connect(func(*Kernel) {})
	}
	return k, err
}

// TestRequestsNotSent checks that the requests that an earlier program has recorded and not sent
// are sent once and in order. On a new connection, the fate of a request that was being sent is
// unknown.
func TestRequestsNotSent(t *testing.T) {
	for _, resumed := range []bool{true, false} {
		got := make(chan string, 10)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
			for err == nil {
				var data []byte
				if _, data, err = conn.ReadMessage(); err == nil {
					if m, _ := wire.Decode(wire.JSON, false, data); m.Head.Type == "execute_request" {
						got <- m.Head.ID
					}
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
		k, err := connect(Options{Dir: dir, Limits: journal.Default, Left: resumed, Logf: t.Logf, Finished: func(*Kernel) {},
			Dial: func(ctx context.Context, _ string) (*websocket.Conn, *http.Response, error) {
				return d.DialContext(ctx, strings.Replace(server.URL, "http", "ws", 1), nil)
			}})
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

// TestUntold checks that a long cell whose end no client has confirmed is returned once.
func TestUntold(t *testing.T) {
	k, err := connect(Options{Dir: t.TempDir(), Limits: journal.Default, Logf: t.Logf, Finished: func(*Kernel) {}, Long: time.Minute,
		Dial: func(ctx context.Context, _ string) (*websocket.Conn, *http.Response, error) {
			<-ctx.Done()
			return nil, nil, ctx.Err()
		}})
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
	run(-time.Hour, "ok") // the clock was set back
	untold()
}

// TestSessionOfABrokenHandshake checks that the kernel uses the session of the last open connection
// again, and never that of an interrupted handshake.
func TestSessionOfABrokenHandshake(t *testing.T) {
	dir := t.TempDir()
	// life opens the kernel, and returns the session of its connection.
	life := func(dial func(context.Context) (*websocket.Conn, *http.Response, error)) string {
		t.Helper()
		first := make(chan string, 1)
		k, err := connect(Options{Dir: dir, Limits: journal.Default, Logf: t.Logf, Finished: func(*Kernel) {},
			Dial: func(ctx context.Context, session string) (*websocket.Conn, *http.Response, error) {
				conn, resp, err := dial(ctx)
				select {
				case first <- session:
				default:
				}
				return conn, resp, err
			}})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		select {
		case s := <-first:
			return s
		case <-time.After(time.Minute):
			t.Fatal("no connection")
			panic("unreachable")
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil); err == nil {
			_, _, _ = conn.ReadMessage() // until it ends
		}
	}))
	defer server.Close()
	open := func(ctx context.Context) (*websocket.Conn, *http.Response, error) {
		return websocket.DefaultDialer.DialContext(ctx, strings.Replace(server.URL, "http", "ws", 1), nil)
	}
	noServer := func(context.Context) (*websocket.Conn, *http.Response, error) {
		return nil, nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
	}
	broken := func(context.Context) (*websocket.Conn, *http.Response, error) { return nil, nil, errors.New("timeout") }
	first := life(noServer)
	if s := life(open); s != first {
		t.Errorf("after a server that was not there: %s, not %s", s, first)
	}
	if s := life(broken); s != first {
		t.Errorf("after an open connection: %s, not %s", s, first)
	}
	second := life(open)
	if second == first {
		t.Errorf("%s again, after a handshake that was not over", first)
	}
	if s := life(open); s != second {
		t.Errorf("after an open connection: %s, not %s", s, second)
	}
	var noted []byte // the name that a program finds after a kill
	_ = life(func(ctx context.Context) (*websocket.Conn, *http.Response, error) {
		if len(noted) == 0 {
			noted, _ = os.ReadFile(filepath.Join(dir, "session"))
		}
		return broken(ctx)
	})
	if string(noted) == second || !strings.HasPrefix(string(noted), "keyway-kernel-") {
		t.Errorf("killed in the handshake of %s, the next one is %q", second, noted)
	}
}

// TestPauseGrows checks the pauses between attempts to write a file: they grow, start again after a
// success, and end at Close.
func TestPauseGrows(t *testing.T) {
	called := make(chan bool, 10)
	k, err := Read("kernel", Options{Dir: t.TempDir(), Limits: journal.Default, Logf: t.Logf, Finished: func(*Kernel) { called <- true }})
	if err != nil {
		t.Fatal(err)
	}
	pause := func() time.Duration { k.mu.Lock(); defer k.mu.Unlock(); return k.pause }
	for want := time.Millisecond; want <= 8*time.Millisecond; want *= 2 {
		k.TryAgain(time.Millisecond)
		if got := pause(); got != want {
			t.Errorf("a pause of %v, not %v", got, want)
		}
		select {
		case <-called:
		case <-time.After(time.Minute):
			t.Fatal("not tried again")
		}
	}
	k.Written(nil, nil)
	if got := pause(); got != 0 {
		t.Errorf("a pause of %v after a file was written", got)
	}
	k.TryAgain(2 * maxPause)
	if got := pause(); got != maxPause {
		t.Errorf("a pause of %v", got)
	}
	k.cancel() // the first step of Close
	k.work.Wait()
	if k.Close(); len(called) > 0 {
		t.Error("tried again while the kernel was closed")
	}
}

// TestDisplaysEndWithTheirKernel checks a cell with the display_id of an earlier cell. The two have
// the same display only in the same run of the kernel, also if the journal is opened again in
// between.
func TestDisplaysEndWithTheirKernel(t *testing.T) {
	display := func(to wire.Message, text string) wire.Message {
		return wire.New("kernel", to.Header, "iopub", "display_data",
			map[string]any{"data": map[string]string{"text/plain": text}, "transient": map[string]string{"display_id": "progress"}})
	}
	state := func(word string) wire.Message {
		return wire.New("kernel", []byte("{}"), "iopub", "status", map[string]string{"execution_state": word})
	}
	for name, between := range map[string]func(*Kernel) []wire.Message{
		"the same run":     func(*Kernel) []wire.Message { return []wire.Message{state("busy")} },
		"died":             func(*Kernel) []wire.Message { return []wire.Message{state("dead")} },
		"restarted itself": func(*Kernel) []wire.Message { return []wire.Message{state("restarting")} },
		"was restarted":    func(k *Kernel) []wire.Message { k.Restarted(); return nil },
	} {
		for _, anew := range []bool{false, true} {
			dir := t.TempDir()
			read := func() *Kernel {
				k, err := Read("kernel", Options{Dir: dir, Limits: journal.Default, Logf: t.Logf, Finished: func(*Kernel) {}})
				if err != nil {
					t.Fatal(err)
				}
				return k
			}
			k, a, b := read(), ask("a"), ask("b")
			k.toKernel(&client{}, a)
			idle := wire.New("kernel", a.Header, "iopub", "status", map[string]string{"execution_state": "idle"})
			k.fromKernel([]wire.Message{display(a, "of a"), idle}, journal.Mark{}, false)
			k.fromKernel(between(k), journal.Mark{}, false)
			if anew { // without a Close, as after a kill
				old := k
				k = read()
				old.Close()
			}
			said := k.journal.Find(a.Head.ID).Said
			k.toKernel(&client{}, b)
			k.fromKernel([]wire.Message{display(b, "of b")}, journal.Mark{}, false)
			want := said
			if name == "the same run" {
				want++
			}
			if got := k.journal.Find(a.Head.ID).Said; got != want {
				t.Errorf("%s, read anew %v: the first cell has shown %d outputs, not %d", name, anew, got, want)
			}
			k.Close()
		}
	}
}
