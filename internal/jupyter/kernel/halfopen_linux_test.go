package kernel

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"keyway/internal/jupyter/journal"
	"keyway/internal/jupyter/wire"
	"keyway/test/await"
)

// halfOpenTime is the time for which the connection carries nothing. TestTenMinutesHalfOpen uses
// ten minutes of virtual time.
const halfOpenTime = 3 * time.Second

// accepted hands out the connections of a listener.
type accepted struct {
	net.Listener
	conns chan net.Conn
}

func (a accepted) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	if err == nil {
		a.conns <- c
	}
	return c, err
}

// deafen makes the operating system drop every arriving segment of a TCP connection, as a firewall
// does that has forgotten the connection: data, acknowledgements and the end are lost.
func deafen(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}} // keeps 0 bytes
	if ctlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]})
	}); ctlErr != nil || err != nil {
		t.Fatal(ctlErr, err)
	}
}

// TestHalfOpenTCP interrupts a page's TCP connection in mid-cell without a notice to either end.
// The page connects again with its session. The test checks that it has each line once.
func TestHalfOpenTCP(t *testing.T) {
	k, err := Read("kernel", Options{Dir: t.TempDir(), Limits: journal.Default, Logf: t.Logf, Finished: func(*Kernel) {}, Long: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := accepted{tcp, make(chan net.Conn, 2)}
	server := http.Server{Handler: http.HandlerFunc(k.Serve)}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	defer func() { server.Close(); <-served }()
	open := func() *websocket.Conn {
		conn, _, err := websocket.DefaultDialer.Dial("ws://"+tcp.Addr().String()+"/?session_id=page", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(halfOpenTime + time.Minute))
		return conn
	}
	page := open()
	defer page.Close()
	request := ask("code")
	data, _ := request.Encode(wire.JSON)
	if err := page.WriteMessage(websocket.TextMessage, data); err != nil {
		t.Fatal(err)
	}
	await.That(t, "the request in the journal", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.journal.Find(request.Head.ID) != nil
	})
	say := func(channel, kind string, content any) {
		k.fromKernel([]wire.Message{wire.New("kernel", request.Header, channel, kind, content)}, journal.Mark{}, false)
	}
	say("iopub", "execute_input", map[string]any{"execution_count": 1})
	say("iopub", "stream", wire.Text{Name: "stdout", Text: "begun\n"})
	want := shows(t, page, "begun\n")
	deafen(t, page.NetConn())
	deafen(t, <-l.conns)
	for i := range 60 {
		line := fmt.Sprintf("line %d %s\n", i, strings.Repeat("x", 200_000)) // exceeds the operating system's buffers
		say("iopub", "stream", wire.Text{Name: "stdout", Text: line})
		want += line
		time.Sleep(halfOpenTime / 60)
		if clients, waiting := connected(k); clients != 1 || waiting > maxQueue {
			t.Fatalf("%d clients after line %d, for which %d bytes wait in memory", clients, i, waiting)
		}
	}
	say("shell", "execute_reply", map[string]string{"status": "ok"})
	say("iopub", "status", map[string]string{"execution_state": "idle"})
	_ = page.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if kind, data, err := page.ReadMessage(); err == nil {
		t.Errorf("the connection that stands still has brought a message of kind %d: %.80q", kind, data)
	}
	back := open()
	defer back.Close()
	if got := shows(t, back, "<status>"); got != want+"<execute_reply><status>" {
		t.Errorf("it shows %d bytes, not %d: %.40q … %.60q", len(got), len(want), got, got[max(0, len(got)-60):])
	}
}
