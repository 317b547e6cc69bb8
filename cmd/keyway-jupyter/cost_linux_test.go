package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/hold"
	"keyway/internal/jupyter/wire"
)

// crier is a Jupyter server with one kernel, which sends the messages that a test chooses.
type crier struct {
	t       *testing.T
	service // of keep in front of it
	pid     int
	asked   chan wire.Message
	doc     []byte

	mu      sync.Mutex
	sockets []*websocket.Conn // the last one is open

	program  string
	told     []byte // the state that keep reads from its input
	listener *os.File
	keeper   hold.Keeper
	cmd      *exec.Cmd
	in       io.WriteCloser
	log      *buffer
}

const crierKernel = "01234567-89ab-cdef-0123-456789abcdef"

func (c *crier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/api/kernels":
		_ = json.NewEncoder(w).Encode([]any{map[string]string{"id": crierKernel}})
	case "/api/sessions":
		_ = json.NewEncoder(w).Encode([]any{map[string]any{"path": "x.ipynb", "type": "notebook", "kernel": map[string]string{"id": crierKernel}}})
	case "/api/kernels/" + crierKernel:
		_, _ = io.WriteString(w, "{}")
	case "/api/kernels/" + crierKernel + "/channels":
		c.channels(w, r)
	case "/api/contents/x.ipynb":
		_, _ = w.Write(c.doc)
	default:
		http.NotFound(w, r)
	}
}

func (c *crier) channels(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, Subprotocols: []string{wire.Subprotocol}}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c.mu.Lock()
	c.sockets = append(c.sockets, conn)
	c.mu.Unlock()
	for {
		_, data, err := conn.ReadMessage()
		if err != nil {
			return
		}
		m, err := wire.Decode(wire.V1, true, data)
		if err != nil {
			c.t.Error(err)
			return
		}
		c.asked <- m
	}
}

// say sends a message of the kernel about a request.
func (c *crier) say(to wire.Message, channel, kind string, content any) {
	data, _ := wire.New("the-kernel", to.Header, channel, kind, content).Encode(wire.V1)
	c.mu.Lock()
	socket := c.sockets[len(c.sockets)-1]
	c.mu.Unlock()
	if err := socket.WriteMessage(websocket.BinaryMessage, data); err != nil {
		c.t.Error(err)
	}
}

// begin answers a request with the messages of a kernel that begins it.
func (c *crier) begin(page *page, code, cell string) (id string, m wire.Message) {
	id = page.run(code, cell)
	m = <-c.asked
	c.say(m, "iopub", "status", map[string]string{"execution_state": "busy"})
	c.say(m, "iopub", "execute_input", map[string]any{"code": code, "execution_count": 1})
	return id, m
}

func (c *crier) end(m wire.Message) {
	c.say(m, "shell", "execute_reply", map[string]any{"status": "ok", "execution_count": 1})
	c.say(m, "iopub", "status", map[string]string{"execution_state": "idle"})
}

// startCrier starts a crier and keyway-jupyter's child in front of it.
func startCrier(t *testing.T) *crier {
	t.Helper()
	home := t.TempDir()
	c := &crier{t: t, asked: make(chan wire.Message, 100), program: filepath.Join(home, "keyway-jupyter"), log: &buffer{}}
	build(t, c.program)
	theirs, err := net.Listen("unix", filepath.Join(home, "server.sock"))
	if err != nil {
		t.Fatal(err)
	}
	serveWeb(t, theirs, c)
	c.service = service{filepath.Join(home, "front.sock"), "the-token-of-the-clients"}
	ours, err := listen(c.service.socket)
	if err != nil {
		t.Fatal(err)
	}
	if c.listener, err = ours.File(); err != nil {
		t.Fatal(err)
	}
	_ = ours.Close()
	c.told, _ = json.Marshal(keeping{server{Network: "unix", Address: theirs.Addr().String(), Base: "/", Token: "x"}, c.service.token, home, time.Hour, time.Hour})
	c.keep()
	t.Cleanup(func() {
		_ = c.in.Close()
		_ = c.cmd.Wait()
		c.keeper.Ended()
		c.keeper.Close()
		_ = c.listener.Close()
		if t.Failed() {
			t.Logf("the program said:\n%s", c.log)
		}
	})
	return c
}

// keep starts the program.
func (c *crier) keep() {
	c.t.Helper()
	lines, err := c.keeper.Start()
	if err != nil {
		c.t.Fatal(err)
	}
	c.cmd = exec.Command(c.program, "keep")
	c.cmd.Stderr, c.cmd.ExtraFiles = c.log, []*os.File{c.listener, lines}
	if c.in, err = c.cmd.StdinPipe(); err == nil {
		err = startSlack(c.cmd)
	}
	if err == nil {
		_, err = c.in.Write(c.told)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	_ = lines.Close()
	c.pid = c.cmd.Process.Pid
}

// kill kills the program.
func (c *crier) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait() // killed
	c.keeper.Ended()
}

// cpu returns the processor time of the program, from the scheduler's own measurement of each
// thread. The usual counters of ticks are too coarse.
func (c *crier) cpu() (total time.Duration) {
	c.t.Helper()
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", c.pid))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			c.t.Fatal(err)
		}
		ns, err := strconv.ParseInt(strings.Fields(string(data))[0], 10, 64)
		if err != nil {
			c.t.Fatal(err)
		}
		total += time.Duration(ns)
	}
	return total
}

// peak returns the program's peak resident memory in MB.
func (c *crier) peak() int {
	c.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		c.t.Fatal(err)
	}
	return kb / 1000
}

// writes returns the number of the program's writes to files and connections.
func (c *crier) writes() int {
	c.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "syscw:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// TestCost measures a kernel that prints 1,000 lines a second. The results depend on other load, so
// they are only logged. Then the kernel prints as fast as it can: the test checks that lines in
// quick succession are written together.
func TestCost(t *testing.T) {
	c := startCrier(t)
	p := c.open(t, crierKernel, "", wire.V1)
	id, m := c.begin(p, "loop", "a")
	const lines = 2000
	say := func(i int) {
		c.say(m, "iopub", "stream", wire.Text{Name: "stdout", Text: fmt.Sprintf("line %d of a training that prints what it does\n", i)})
	}
	said := func(i int) {
		c.say(m, "iopub", "stream", wire.Text{Name: "stdout", Text: fmt.Sprintf("%d were printed\n", i)})
		p.until(id, "the lines", func(s *shown) bool { return strings.HasSuffix(s.text.String(), fmt.Sprintf("%d were printed\n", i)) })
	}
	before, began := c.cpu(), time.Now()
	for i := range lines {
		say(i)
		time.Sleep(time.Until(began.Add(time.Duration(i+1) * time.Millisecond)))
	}
	said(lines)
	t.Logf("%v of a processor for each of %d messages; %d MB", (c.cpu()-before)/lines, lines, c.peak())
	written := c.writes()
	for i := range lines {
		say(i)
	}
	said(2 * lines)
	if written = c.writes() - written; written > lines {
		t.Errorf("%d writes for %d messages that came together", written, lines)
	}
	t.Logf("%d writes for %d messages that came together", written, lines)
	c.end(m)
	p.ended(id)
}

// TestMemory measures the program's memory while a kernel sends 10 MB at once, and while the output
// is read in each way.
func TestMemory(t *testing.T) {
	c := startCrier(t)
	c.doc, _ = json.Marshal(map[string]any{"type": "notebook", "last_modified": "1", "content": map[string]any{"nbformat": 4, "nbformat_minor": 5,
		"metadata": map[string]any{}, "cells": []any{codeCell("a", "loop")}}})
	p := c.open(t, crierKernel, "", wire.V1)
	_, m := c.begin(p, "loop", "a")
	p.close()
	line := strings.Repeat("x", 990)
	said := func(what string) {
		t.Helper()
		if t.Logf("%s: %d MB", what, c.peak()); c.peak() > 30 {
			t.Errorf("%s takes %d MB, more than 30", what, c.peak())
		}
	}
	said("idle")
	live := make(chan int, 1)
	go func() { live <- c.swallow(wire.V1) }() // joined below
	for i := range 10 {
		var text strings.Builder
		for j := range 1000 {
			fmt.Fprintf(&text, "%d %s\n", 1000*i+j, line)
		}
		c.say(m, "iopub", "stream", wire.Text{Name: "stdout", Text: text.String()})
	}
	c.end(m)
	said(fmt.Sprintf("%d bytes while they come", <-live))
	for name, protocol := range protocols {
		began := time.Now()
		n := c.swallow(protocol)
		said(fmt.Sprintf("again, %d bytes as %s, in %v", n, name, time.Since(began)))
	}
	began := time.Now()
	n := c.fetch("/api/contents/x.ipynb")
	said(fmt.Sprintf("a notebook of %d bytes in %v", n, time.Since(began)))
	if n < 9_900_000 {
		t.Error("something is missing")
	}
}

// swallow counts the bytes that a new page receives until its cell has ended.
func (c *crier) swallow(p wire.Protocol) (n int) {
	c.t.Helper()
	return c.drain(c.join(p))
}

// join connects a new page.
func (c *crier) join(p wire.Protocol) *websocket.Conn {
	c.t.Helper()
	d := websocket.Dialer{NetDialContext: c.dial, HandshakeTimeout: patience}
	if p == wire.V1 {
		d.Subprotocols = []string{wire.Subprotocol}
	}
	conn, _, err := d.Dial("ws://localhost:8888/api/kernels/"+crierKernel+"/channels?session_id="+rand.Text(), http.Header{"Authorization": {"token " + c.token}})
	if err != nil {
		c.t.Fatal(err)
	}
	return conn
}

// drain counts the bytes that a page receives until its cell has ended, and closes it. It does not
// parse them, because that is slow with the race detector.
func (c *crier) drain(conn *websocket.Conn) (n int) {
	defer conn.Close()
	for {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		_, data, err := conn.ReadMessage()
		if err != nil {
			c.t.Error(err)
			return n
		}
		if n += len(data); len(data) < 4<<10 && bytes.Contains(data, []byte(`"idle"`)) {
			return n
		}
	}
}

func (c *crier) fetch(path string) int64 {
	c.t.Helper()
	req, _ := http.NewRequest(http.MethodGet, "http://localhost:8888"+path, nil)
	req.Header.Set("Authorization", "token "+c.token)
	client := http.Client{Transport: &http.Transport{DialContext: c.dial, DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
