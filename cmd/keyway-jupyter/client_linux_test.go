package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/wire"
	"keyway/internal/unixsock"
	"keyway/test/await"
)

const (
	// patience bounds the wait for an event that must come, or for a step towards it.
	patience = await.Patience
	// maxPatience bounds the wait for all steps.
	maxPatience = 4 * patience
)

// service is the address of keyway-jupyter or of the Jupyter server itself.
type service struct{ socket, token string }

func (s service) dial(context.Context, string, string) (net.Conn, error) {
	return unixsock.Dial(s.socket)
}

// call sends a request, decodes the JSON answer, and returns the status.
func (s service) call(t *testing.T, method, path string, body, answer any) int {
	t.Helper()
	var data []byte
	if body != nil {
		data, _ = json.Marshal(body)
	}
	req, err := http.NewRequest(method, "http://localhost:8888"+path, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "token "+s.token)
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DialContext: s.dial, DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer != nil && resp.StatusCode/100 == 2 {
		if err := json.Unmarshal(got, answer); err != nil {
			t.Fatalf("%s %s: %v in %.300s", method, path, err, got)
		}
	}
	return resp.StatusCode
}

func (s service) kernel(t *testing.T) string {
	t.Helper()
	var k struct{ ID string }
	if code := s.call(t, "POST", "/api/kernels", map[string]string{"name": "python3"}, &k); code/100 != 2 {
		t.Fatalf("no kernel: %d", code)
	}
	t.Cleanup(func() { s.call(t, "DELETE", "/api/kernels/"+k.ID, nil, nil) })
	return k.ID
}

// page is a client. It shows the messages for each request as an editor would.
type page struct {
	t        *testing.T
	conn     *websocket.Conn
	protocol wire.Protocol
	session  string

	mu    sync.Mutex
	more  *sync.Cond
	cells map[string]*shown
	last  time.Time // when the last message came
	err   error
	done  chan struct{}
}

// shown is the visible state of a cell.
type shown struct {
	text    strings.Builder
	display map[string]string
	others  []string
	replied bool
	idle    bool
	prompt  *wire.Message
	updates int
	clear   bool
}

func (s service) open(t *testing.T, kernel, session string, p wire.Protocol) *page {
	t.Helper()
	if session == "" {
		session = rand.Text()
	}
	d := websocket.Dialer{NetDialContext: s.dial, HandshakeTimeout: patience}
	if p == wire.V1 {
		d.Subprotocols = []string{wire.Subprotocol}
	}
	u := "ws://localhost:8888/api/kernels/" + kernel + "/channels?" + url.Values{"session_id": {session}}.Encode()
	conn, _, err := d.Dial(u, http.Header{"Authorization": {"token " + s.token}})
	if err != nil {
		t.Fatal(err)
	}
	c := s.pageOf(t, conn)
	c.session = session
	return c
}

func (s service) pageOf(t *testing.T, conn *websocket.Conn) *page {
	c := &page{t: t, conn: conn, cells: map[string]*shown{}, done: make(chan struct{})}
	if conn.Subprotocol() == wire.Subprotocol {
		c.protocol = wire.V1
	}
	c.more = sync.NewCond(&c.mu)
	go c.read()
	t.Cleanup(c.close)
	return c
}

func (c *page) close() { _ = c.conn.Close(); <-c.done }

func (c *page) read() {
	defer close(c.done)
	for {
		kind, data, err := c.conn.ReadMessage()
		c.mu.Lock()
		c.last = time.Now()
		if err != nil {
			c.err = err
			c.more.Broadcast()
			c.mu.Unlock()
			return
		}
		m, err := wire.Decode(c.protocol, kind == websocket.BinaryMessage, data)
		if err != nil {
			c.t.Errorf("%v: %.200s", err, data)
		} else if id := m.Origin.ID; id != "" {
			if c.cells[id] == nil {
				c.cells[id] = &shown{display: map[string]string{}}
			}
			c.cells[id].take(m)
		}
		c.more.Broadcast()
		c.mu.Unlock()
	}
}

func (s *shown) take(m wire.Message) {
	var content struct {
		Wait      bool
		Data      map[string]any
		Transient struct {
			ID string `json:"display_id"`
		}
	}
	_ = json.Unmarshal(m.Content, &content)
	kind := m.Head.Type
	if s.clear && (kind == "stream" || kind == "display_data") {
		s.reset()
	}
	switch kind {
	case "stream":
		text, _ := m.Stream()
		s.text.WriteString(text.Text)
	case "clear_output":
		if s.clear = content.Wait; !s.clear {
			s.reset()
		}
	case "display_data", "update_display_data":
		s.display[content.Transient.ID] = fmt.Sprint(content.Data["text/plain"])
		s.updates++
	case "execute_result", "error":
		s.others = append(s.others, kind)
	case "execute_reply":
		s.replied = true
	case "input_request":
		s.prompt = &m
	case "status":
		s.idle = m.State() == "idle"
	}
}

func (s *shown) reset() {
	s.text.Reset()
	s.display, s.others, s.clear = map[string]string{}, nil, false
}

// send sends a request and returns its id.
func (c *page) send(channel, kind string, content any, meta string, parent []byte) string {
	c.t.Helper()
	m := wire.New(c.session, parent, channel, kind, content)
	m.Metadata = []byte(meta)
	data, isBinary := m.Encode(c.protocol)
	frame := websocket.TextMessage
	if isBinary {
		frame = websocket.BinaryMessage
	}
	if err := c.conn.WriteMessage(frame, data); err != nil {
		c.t.Fatal(err)
	}
	return m.Head.ID
}

func (c *page) run(code, cell string) string {
	c.t.Helper()
	meta, _ := json.Marshal(map[string]string{"cellId": cell})
	if cell == "" {
		meta = []byte("{}")
	}
	return c.send("shell", "execute_request", map[string]any{"code": code, "silent": false, "store_history": true,
		"user_expressions": map[string]any{}, "allow_stdin": true, "stop_on_error": false}, string(meta), []byte("{}"))
}

// until waits until a cell satisfies is, and returns its text. It gives up when no message has come
// for patience, and at the latest after maxPatience.
func (c *page) until(id, what string, is func(*shown) bool) string {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = time.Now()
	began := c.last
	var timer *time.Timer
	timer = time.AfterFunc(patience, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if quiet := time.Since(c.last); quiet < patience && time.Since(began) < maxPatience {
			timer.Reset(patience - quiet)
			return
		}
		c.err = errPatience
		c.more.Broadcast()
	})
	defer timer.Stop()
	for {
		s := c.cells[id]
		if s != nil && is(s) {
			return s.text.String()
		}
		if c.err != nil {
			if s == nil {
				s = &shown{}
			}
			c.t.Fatalf("%s: %v; the cell shows %.300q, idle %v, reply %v", what, c.err, s.text.String(), s.idle, s.replied)
		}
		c.more.Wait()
	}
}

var errPatience = fmt.Errorf("nothing within %v", patience)

func (c *page) ended(id string) string {
	c.t.Helper()
	return c.until(id, "the end of the cell", func(s *shown) bool { return s.idle && s.replied })
}

// heard waits until messages of the kernel arrive again after a restart. Broadcast messages are
// lost until the server has connected to the kernel again; replies are not.
func (c *page) heard() {
	c.t.Helper()
	for late := time.Now().Add(patience); ; {
		id, idle, over := c.run("pass", ""), false, false
		timer := time.AfterFunc(time.Second, func() { c.mu.Lock(); defer c.mu.Unlock(); over = true; c.more.Broadcast() })
		c.mu.Lock()
		for !idle && !over && c.err == nil {
			if s := c.cells[id]; s != nil && s.idle && s.replied {
				idle = true
			} else {
				c.more.Wait()
			}
		}
		err := c.err
		c.mu.Unlock()
		timer.Stop()
		if idle {
			return
		}
		if err != nil || time.Now().After(late) {
			c.t.Fatalf("the kernel is not heard: %v", err)
		}
	}
}

func (c *page) line(id string, n int) {
	c.t.Helper()
	c.until(id, fmt.Sprint("line ", n), func(s *shown) bool { return strings.Contains(s.text.String(), fmt.Sprintf("line %d\n", n)) })
}

// lines returns a cell that prints n lines with pauses, and the complete text.
func lines(n int, pause string) (code, text string) {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return fmt.Sprintf("import time\nfor i in range(%d):\n    print('line', i, flush=True); time.sleep(%s)", n, pause), b.String()
}
