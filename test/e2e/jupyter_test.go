//go:build linux

package e2e

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
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/wire"
	"keyway/test/lab"
)

// book is a Jupyter server as a page on the laptop has it.
type book struct {
	w     *world
	t     *testing.T
	host  string
	token string
}

// openJupyter returns keyway open in the background.
func (w *world) openJupyter(t *testing.T, name string, args ...string) book {
	t.Helper()
	said := w.background(t, "http://", w.command(append([]string{"keyway", "open", "--no-browser", name, "jupyter"}, args...)...))
	u, err := url.Parse("http://" + strings.Fields(said.line(t))[0])
	if err != nil {
		t.Fatal(err)
	}
	return book{w, t, u.Host, u.Query().Get("token")}
}

func (b book) dial(ctx context.Context, _, address string) (net.Conn, error) {
	return b.w.Laptop.Dial(ctx, address)
}

// call sends a request to the server, and repeats it until the port is connected.
func (b book) call(method, path string, body, answer any) int {
	b.t.Helper()
	data, _ := json.Marshal(body)
	client := http.Client{Transport: &http.Transport{DialContext: b.dial, DisableKeepAlives: true}, Timeout: patience}
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		req, _ := http.NewRequest(method, "http://"+b.host+path, bytes.NewReader(data))
		req.Header.Set("Authorization", "token "+b.token)
		resp, err := client.Do(req)
		if err == nil {
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil {
				if answer != nil && resp.StatusCode/100 == 2 {
					if err := json.Unmarshal(got, answer); err != nil {
						b.t.Fatalf("%s: %v", got, err)
					}
				}
				return resp.StatusCode
			}
		}
		if time.Now().After(end) {
			b.t.Fatal(err)
		}
	}
}

// page opens a kernel's websocket as a new page does.
func (b book) page(kernel string) *websocket.Conn {
	b.t.Helper()
	d := websocket.Dialer{NetDialContext: b.dial, HandshakeTimeout: patience}
	at := "ws://" + b.host + "/api/kernels/" + kernel + "/channels?session_id=" + rand.Text()
	conn, _, err := d.Dial(at, http.Header{"Authorization": {"token " + b.token}, "Origin": {"http://" + b.host}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	return conn
}

// printed reads until a cell has printed a line, or has ended.
func (b book) printed(conn *websocket.Conn, id, line string) (text string) {
	b.t.Helper()
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil {
			b.t.Fatalf("%v after %q", err, text)
		}
		m, err := wire.Decode(wire.JSON, kind == websocket.BinaryMessage, data)
		if err != nil {
			b.t.Fatal(err)
		}
		if m.Origin.ID != id {
			continue
		}
		if m.Head.Type == "clear_output" {
			text = ""
		}
		s, _ := m.Stream()
		text += s.Text
		if line != "" && strings.Contains(text, line) || text != "" && m.State() == "idle" {
			return text
		}
	}
}

// carryJupyter puts keyway-jupyter beside keyway, as a release carries it.
func carryJupyter(t *testing.T) {
	t.Helper()
	root, err := lab.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(bin, "keyway-jupyter"), "./cmd/keyway-jupyter")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestNotebookOutlivesTheWay runs a cell through bastion, link and guest, and kills each ssh of the
// laptop while it runs. It checks that the page has all lines when it is connected again, and that
// the notebook's file has them, too.
func TestNotebookOutlivesTheWay(t *testing.T) {
	t.Parallel()
	carryJupyter(t)
	w := start(t, lab.Options{})
	w.must(t, "keyway", "init", "--yes")
	w.must(t, "keyway", "unlock")
	w.must(t, "keyway", "up", "--on", "gpu1", "--engine", "host", "--name", "nb")
	b := w.openJupyter(t, "nb")
	const code = "import time, os\nfor i in range(100):\n    print('line', i, flush=True); time.sleep(0.03)\nwhile not os.path.exists('go.txt'): time.sleep(0.05)"
	cell := map[string]any{"cell_type": "code", "id": "abc", "metadata": map[string]any{}, "source": code, "outputs": []any{}, "execution_count": nil}
	doc := map[string]any{"type": "notebook", "format": "json", "content": map[string]any{"nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{}, "cells": []any{cell}}}
	if status := b.call("PUT", "/api/contents/x.ipynb", doc, nil); status/100 != 2 {
		t.Fatalf("saving: %d", status)
	}
	var session struct{ Kernel struct{ ID string } }
	b.call("POST", "/api/sessions", map[string]any{"path": "x.ipynb", "name": "x", "type": "notebook", "kernel": map[string]string{"name": "python3"}}, &session)

	first := b.page(session.Kernel.ID)
	m := wire.New("the-first-page", []byte("{}"), "shell", "execute_request", map[string]any{"code": code, "silent": false, "store_history": true})
	m.Metadata = []byte(`{"cellId":"abc"}`)
	data, _ := m.Encode(wire.JSON)
	if err := first.WriteMessage(websocket.TextMessage, data); err != nil {
		t.Fatal(err)
	}
	b.printed(first, m.Head.ID, "line 5\n")
	if err := lab.Kill(syscall.SIGKILL, w.Laptop.Processes("ssh")...); err != nil {
		t.Fatal(err)
	}
	first.Close()
	if said := w.must(t, "keyway", "ls", "nb"); !strings.Contains(said, "busy") || !strings.Contains(said, "x.ipynb") {
		t.Errorf("in mid-cell, ls says\n%s", said)
	}
	if said := w.must(t, "keyway", "ls", "nb", "--json"); !strings.Contains(said, `"notebook": "x.ipynb"`) || !strings.Contains(said, `"running": 1`) {
		t.Errorf("in mid-cell, ls --json says\n%s", said)
	}
	v := w.openTerminal(t, 120, 30)
	v.begin("keyway stop nb; echo left with $?")
	v.await("a cell of x.ipynb, jupyter run. Stop nb? [y/N]")
	v.typeIn("n")
	v.await("left with 130")
	b.call("PUT", "/api/contents/go.txt", map[string]any{"type": "file", "format": "text", "content": ""}, nil)
	var kernels []struct{ Running, Clients int }
	for end := time.Now().Add(patience); len(kernels) != 1 || kernels[0].Running > 0 || kernels[0].Clients > 0; {
		if time.Now().After(end) {
			t.Fatalf("the cell has not ended: %+v", kernels)
		}
		b.call("GET", "/keyway/kernels", nil, &kernels)
	}
	var want strings.Builder
	for i := range 100 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	equal(t, "a new page", b.printed(b.page(session.Kernel.ID), m.Head.ID, ""), want.String())
	var read struct {
		Content struct {
			Cells []struct{ Outputs []struct{ Text string } }
		}
	}
	b.call("GET", "/api/contents/x.ipynb", nil, &read)
	if o := read.Content.Cells[0].Outputs; len(o) != 1 || o[0].Text != want.String() {
		t.Errorf("who reads the notebook has %.300v", o)
	}

	if said := w.must(t, "keyway", "ls", "nb"); !strings.Contains(said, "idle") || strings.Contains(said, "busy") {
		t.Errorf("after its end, ls says\n%s", said)
	}
	// A client without the token gets nothing, and the address stays the same.
	stranger := b
	stranger.token = "x"
	if status := stranger.call("GET", "/api/kernels", nil, nil); status != http.StatusForbidden {
		t.Errorf("without the token: %d", status)
	}
	if again := w.openJupyter(t, "nb", "--vscode"); again.host != b.host || again.token != b.token {
		t.Errorf("opened again it is at %s, not %s", again.host, b.host)
	}
	w.must(t, "keyway", "kill", "nb/jupyter")
}
