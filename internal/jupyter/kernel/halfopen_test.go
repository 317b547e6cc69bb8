package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/journal"
	"keyway/internal/jupyter/wire"
)

// pipes is a listener whose connections are pipes within this process, so that time can be
// virtual.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.done); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// open connects a page.
func (p pipes) open(t *testing.T, session string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) {
		near, far := net.Pipe()
		p.conns <- far
		return near, nil
	}}
	conn, _, err := d.Dial("ws://page/?session_id="+session, nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// shows returns the text of a page's cell, read up to a text.
func shows(t *testing.T, conn *websocket.Conn, until string) string {
	t.Helper()
	var all strings.Builder
	for !strings.HasSuffix(all.String(), until) {
		_, data, err := conn.ReadMessage()
		if err != nil {
			t.Fatalf("after %d bytes: %v", all.Len(), err)
		}
		m, err := wire.Decode(wire.JSON, false, data)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := m.Stream()
		switch {
		case m.Head.Type == "clear_output":
			all.Reset()
		case m.Head.Type == "execute_reply", m.State() == "idle":
			all.WriteString("<" + m.Head.Type + ">")
		}
		all.WriteString(text.Text)
	}
	return all.String()
}

// connected returns the number of clients, and the bytes that wait for them in memory.
func connected(k *Kernel) (clients, waiting int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.clients {
		waiting += c.bytes
	}
	return len(k.clients), waiting
}

// TestTenMinutesHalfOpen interrupts a page's connection for ten minutes without a notice to either
// end. Its cell prints more than may wait in memory, and ends. The page connects again with its
// session. The test checks that it has each line once.
func TestTenMinutesHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, err := Read("kernel", Options{Dir: t.TempDir(), Limits: journal.Default, Logf: t.Logf, Finished: func(*Kernel) {}, Long: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		l := pipes{make(chan net.Conn), make(chan struct{})}
		server := http.Server{Handler: http.HandlerFunc(k.Serve)}
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		defer func() {
			server.Close()
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}()
		page := l.open(t, "page")
		defer page.Close()
		request := ask("code")
		data, _ := request.Encode(wire.JSON)
		if err := page.WriteMessage(websocket.TextMessage, data); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		say := func(channel, kind string, content any) {
			k.fromKernel([]wire.Message{wire.New("kernel", request.Header, channel, kind, content)}, journal.Mark{}, false)
		}
		say("iopub", "execute_input", map[string]any{"execution_count": 1})
		say("iopub", "stream", wire.Text{Name: "stdout", Text: "begun\n"})
		want := shows(t, page, "begun\n")
		began := time.Now()
		for i := range 600 { // the page reads nothing meanwhile
			line := fmt.Sprintf("line %d %s\n", i, strings.Repeat("x", 8_000))
			say("iopub", "stream", wire.Text{Name: "stdout", Text: line})
			want += line
			time.Sleep(time.Second)
			if clients, waiting := connected(k); clients != 1 || waiting > maxQueue {
				t.Fatalf("%d clients after %v, for which %d bytes wait in memory", clients, time.Since(began), waiting)
			}
		}
		say("shell", "execute_reply", map[string]string{"status": "ok"})
		say("iopub", "status", map[string]string{"execution_state": "idle"})
		back := l.open(t, "page")
		defer back.Close()
		if got := shows(t, back, "<status>"); got != want+"<execute_reply><status>" {
			t.Errorf("after %v it shows %d bytes, not %d: %.40q … %.60q", time.Since(began), len(got), len(want), got, got[max(0, len(got)-60):])
		}
		synctest.Wait()
		if clients, _ := connected(k); clients != 1 {
			t.Errorf("%d clients", clients)
		}
	})
}
