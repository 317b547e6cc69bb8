package front

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/journal"
	"keyway/internal/jupyter/wire"
)

const (
	token     = "the-token-of-the-clients"
	theirs    = "the-token-of-the-server"
	theKernel = "01234567-89ab-cdef-0123-456789abcdef"
)

// document is a notebook.
type document = map[string]any

func parseModel(t *testing.T, data []byte) (model document) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&model); err != nil {
		t.Errorf("%v: %s", err, data)
	}
	return model
}

func readModel(t *testing.T, data []byte) (model, doc document) {
	t.Helper()
	model = parseModel(t, data)
	doc, _ = model["content"].(document)
	return model, doc
}

// fake is a Jupyter server with one kernel and one notebook.
type fake struct {
	t   *testing.T
	url string

	mu       sync.Mutex
	seen     []*http.Request
	doc      document
	copies   map[string]document // by name: other notebooks beside it
	tree     map[string]document // by path: all notebooks, if it is not nil
	modified string
	onRead   func(n int) // called with the number of the read of the notebook
	reads    int
	refused  int // number of refused connections
	sockets  []*websocket.Conn
	raw      func(http.ResponseWriter, *http.Request) // answers in place of a kernel
	asked    chan wire.Message                        // requests to the kernel,
	probed   chan wire.Message                        // and its kernel_info_requests
	faults
}

// faults are those of a Jupyter server or its kernel.
type faults struct {
	refuse   bool // PUT of the notebook fails
	twin     bool // the kernel has a second notebook, a copy of the first
	shut     bool // and that one cannot be read
	mute     bool // the list of sessions is refused
	unlisted int  // how many requests for the list of kernels are refused
	gone     bool // the kernel has ended
	none     bool // there are no kernels and no sessions, as after a start
	away     bool // connections to kernels are refused
}

func newDocument() document {
	return document{"nbformat": 4, "cells": []any{map[string]any{"cell_type": "code", "id": "a", "source": "code", "outputs": []any{}, "metadata": map[string]any{}}}}
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, modified: "1", asked: make(chan wire.Message, 100), probed: make(chan wire.Message, 100)}
	f.doc, f.copies = newDocument(), map[string]document{}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	t.Cleanup(f.drop)
	f.url = strings.TrimPrefix(s.URL, "http://")
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.seen = append(f.seen, r)
	unlisted := f.unlisted > 0 && strings.HasSuffix(r.URL.Path, "/api/kernels")
	if unlisted {
		f.unlisted--
	}
	none, gone, mute, twin, shut, tree := f.none, f.gone || f.none, f.mute, f.twin, f.shut, f.tree != nil
	f.mu.Unlock()
	if r.Header.Get("Authorization") != "token "+theirs {
		http.Error(w, "who are you?", http.StatusForbidden)
		return
	}
	switch path := strings.TrimPrefix(r.URL.Path, "/base/"); {
	case tree && strings.HasPrefix(path, "api/contents/"):
		f.inTree(w, r, strings.TrimPrefix(path, "api/contents/"))
	case unlisted:
		http.Error(w, "not now", http.StatusServiceUnavailable)
	case none && (path == "api/sessions" || path == "api/kernels"):
		writeJSON(w, []any{})
	case path == "api/sessions" && mute:
		http.Error(w, "not now", http.StatusServiceUnavailable)
	case path == "api/sessions" && twin:
		of := map[string]string{"id": theKernel}
		writeJSON(w, []any{map[string]any{"path": "dir/x.ipynb", "kernel": of}, map[string]any{"path": "dir/y.ipynb", "kernel": of}})
	case path == "api/contents/dir/y.ipynb" && shut:
		http.Error(w, "not yours", http.StatusForbidden)
	case path == "api/contents/dir/y.ipynb" && r.Method == http.MethodGet:
		writeJSON(w, map[string]any{"type": "notebook", "last_modified": "1", "content": newDocument()})
	case path == "api/sessions":
		writeJSON(w, []any{map[string]any{"path": "dir/x.ipynb", "type": "notebook", "kernel": map[string]string{"id": theKernel}}})
	case path == "api/kernels" && gone:
		writeJSON(w, []any{})
	case path == "api/kernels":
		writeJSON(w, []any{map[string]string{"id": theKernel, "execution_state": "starting"}})
	case path == "api/kernels/"+theKernel && !gone:
		writeJSON(w, map[string]string{"id": theKernel})
	case path == "api/kernels/"+theKernel+"/channels" && f.raw != nil:
		f.raw(w, r)
	case path == "api/kernels/"+theKernel+"/channels" && f.refuses():
		http.Error(w, "not now", http.StatusServiceUnavailable)
	case path == "api/kernels/"+theKernel+"/channels" && !gone:
		f.channels(w, r)
	case path == "api/contents/dir/x.ipynb":
		f.contents(w, r)
	case strings.HasPrefix(path, "api/contents/dir/x ("):
		f.copy(w, r, strings.TrimPrefix(path, "api/contents/dir/"))
	case path == "page":
		http.SetCookie(w, &http.Cookie{Name: "username-localhost", Value: "login"})
		http.SetCookie(w, &http.Cookie{Name: "_xsrf", Value: "x"})
		_, _ = io.WriteString(w, "page")
	default:
		http.NotFound(w, r)
	}
}

// inTree serves the notebooks of the tree, and the directories that they are in.
func (f *fake) inTree(w http.ResponseWriter, r *http.Request, path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	entries, isDir := map[string]any{}, path == ""
	for name := range f.tree {
		if rest, ok := strings.CutPrefix(name, path+"/"); ok || path == "" {
			isDir = true
			if !ok {
				rest = name
			}
			kind, child := "notebook", name
			if first, _, deeper := strings.Cut(rest, "/"); deeper {
				kind, child = "directory", strings.TrimPrefix(path+"/"+first, "/")
			}
			entries[child] = map[string]string{"path": child, "type": kind}
		}
	}
	dir, _, _ := strings.Cut(path, "/x")
	switch doc := f.tree[path]; {
	case r.Method == http.MethodPut && dir != path && !slices.ContainsFunc(slices.Collect(maps.Keys(f.tree)), func(name string) bool { return strings.HasPrefix(name, dir+"/") }):
		http.Error(w, "no such directory", http.StatusInternalServerError)
	case r.Method == http.MethodPut:
		data, _ := io.ReadAll(r.Body)
		f.tree[path], _ = parseModel(f.t, data)["content"].(document)
		writeJSON(w, map[string]any{"type": "notebook", "last_modified": "1"})
	case doc != nil:
		writeJSON(w, map[string]any{"type": "notebook", "last_modified": "1", "content": doc})
	case isDir:
		writeJSON(w, map[string]any{"type": "directory", "content": slices.Collect(maps.Values(entries))})
	default:
		http.NotFound(w, r)
	}
}

// refuses reports whether connections to kernels are refused now.
func (f *fake) refuses() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		f.refused++
	}
	return f.away
}

// copy serves a notebook beside the kernel's.
func (f *fake) copy(w http.ResponseWriter, r *http.Request, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method == http.MethodPut {
		data, _ := io.ReadAll(r.Body)
		f.copies[name], _ = parseModel(f.t, data)["content"].(document)
	}
	if f.copies[name] == nil {
		http.NotFound(w, r)
		return
	}
	writeJSON(w, map[string]any{"type": "notebook", "last_modified": "1"})
}

func (f *fake) contents(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method == http.MethodPut {
		if f.refuse {
			http.Error(w, "disk full", http.StatusInternalServerError)
			return
		}
		data, _ := io.ReadAll(r.Body)
		model := parseModel(f.t, data)
		f.doc, _ = model["content"].(document)
		f.modified += "+"
	} else if f.reads++; f.onRead != nil {
		f.onRead(f.reads)
	}
	model := map[string]any{"type": "notebook", "last_modified": f.modified, "content": f.doc}
	if r.URL.Query().Get("content") == "0" || r.Method == http.MethodPut {
		delete(model, "content")
	}
	writeJSON(w, model)
}

func (f *fake) channels(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	f.receive(conn, wire.JSON)
}

// receive passes on a client's requests, until it ends.
func (f *fake) receive(conn *websocket.Conn, p wire.Protocol) {
	f.mu.Lock()
	f.sockets = append(f.sockets, conn)
	f.mu.Unlock()
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil {
			return
		}
		m, err := wire.Decode(p, kind == websocket.BinaryMessage, data)
		if err != nil {
			f.t.Error(err)
		}
		if m.Head.Type == "kernel_info_request" {
			f.probed <- m
			continue
		}
		f.asked <- m
	}
}

// say sends a message of the kernel about a request.
func (f *fake) say(to wire.Message, channel, kind string, content any) {
	data, _ := wire.New("kernel", to.Header, channel, kind, content).Encode(wire.JSON)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.sockets[len(f.sockets)-1].WriteMessage(websocket.TextMessage, data); err != nil {
		f.t.Error(err)
	}
}

func (f *fake) status(to wire.Message, state string) {
	f.say(to, "iopub", "status", map[string]string{"execution_state": state})
}

// run prints a text for a request, and ends the execution.
func (f *fake) run(to wire.Message, text string) {
	f.status(to, "busy")
	f.say(to, "iopub", "execute_input", map[string]any{"execution_count": 1, "code": "code"})
	f.say(to, "iopub", "stream", wire.Text{Name: "stdout", Text: text})
	f.say(to, "shell", "execute_reply", map[string]string{"status": "ok"})
	f.status(to, "idle")
}

func (f *fake) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.sockets {
		_ = c.Close()
	}
}

// ask returns the next request that reaches the kernel.
func (f *fake) ask() wire.Message {
	f.t.Helper()
	select {
	case m := <-f.asked:
		return m
	case <-time.After(time.Minute):
		f.t.Fatal("no request within a minute")
		panic("unreachable")
	}
}

// before returns a front of the fake, which listens on the loopback.
func (f *fake) before(dir string) (*Front, string) {
	f.t.Helper()
	front, err := New(Options{
		Upstream: Upstream{Base: "/base/", Token: theirs, Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", f.url)
		}},
		Token: token, Dir: dir, Limits: journal.Default, Logf: f.t.Logf,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	s := httptest.NewServer(front)
	f.t.Cleanup(func() { front.Close(); s.Close() })
	return front, strings.TrimPrefix(s.URL, "http://")
}

// client is a page that is connected to a front.
type client struct {
	t    *testing.T
	conn *websocket.Conn
}

func dial(t *testing.T, at, session string) *client {
	t.Helper()
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+at+"/base/api/kernels/"+theKernel+"/channels?session_id="+session, http.Header{"Authorization": {"token " + token}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t, conn}
}

func (c *client) execute(cell string) wire.Message {
	m := wire.New("page", []byte("{}"), "shell", "execute_request", map[string]any{"code": "code"})
	m.Metadata = []byte(`{"cellId":"` + cell + `"}`)
	data, _ := m.Encode(wire.JSON)
	if err := c.conn.WriteMessage(websocket.TextMessage, data); err != nil {
		c.t.Fatal(err)
	}
	return m
}

// until reads messages up to the first of a kind, and returns the kinds of all.
func (c *client) until(kind string) (kinds []string) {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		_, data, err := c.conn.ReadMessage()
		if err != nil {
			c.t.Fatalf("waiting for %s: %v after %v", kind, err, kinds)
		}
		m, err := wire.Decode(wire.JSON, false, data)
		if err != nil {
			c.t.Fatal(err)
		}
		name := m.Head.Type
		if s := m.State(); s != "" {
			name = s
		}
		if kinds = append(kinds, name); name == kind {
			return kinds
		}
	}
}

func get(t *testing.T, at, path string) (int, []byte) {
	t.Helper()
	return do(t, http.MethodGet, at, path, nil)
}

func do(t *testing.T, method, at, path string, body any) (int, []byte) {
	t.Helper()
	data, _ := json.Marshal(body)
	req, _ := http.NewRequest(method, "http://"+at+"/base/"+path, strings.NewReader(string(data)))
	req.Header.Set("Authorization", "token "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, got
}
