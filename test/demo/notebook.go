//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/wire"
	"keyway/test/lab"
)

const (
	cellLines = 60
	cellCode  = "import time\nfor i in range(60):\n    print('line', i, flush=True); time.sleep(0.1)"
	// patience bounds the wait for an event that must come.
	patience = time.Minute
)

// book is a notebook as a page on the laptop has it, without a browser.
type book struct {
	*tour
	host, token, kernel string
}

// notebook shows a cell that outlives its page and the bastion.
func (t *tour) notebook() error {
	t.engine = "host"
	root, err := lab.ModuleRoot()
	if err != nil {
		return err
	}
	build := exec.CommandContext(t.ctx, "go", "build", "-buildvcs=false", "-o", filepath.Join(t.lab.Bin, "keyway-jupyter"), "./cmd/keyway-jupyter")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if err := t.prepare(); err != nil {
		return err
	}
	b := &book{tour: t}
	if err := t.screen.step("laptop$ keyway open train jupyter", b.open); err != nil {
		return err
	}
	t.screen.note("http://%s/?token=…", b.host)
	var page *websocket.Conn
	if err := t.screen.step("a page runs a cell that prints 60 lines; ten are there", func() (err error) { page, err = b.run(); return err }); err != nil {
		return err
	}
	defer page.Close()
	if _, err := t.run("keyway", "ls", "train"); err != nil {
		return err
	}
	for _, s := range []struct {
		what string
		do   func() error
	}{
		{"the page is closed, and every sshd of the bastion is killed", func() error { _ = page.Close(); return t.killBastion() }},
		{"the cell ends while nobody is there", b.awaitEnd},
		{"a new page has all 60 lines, in order", b.check},
		{"so has the file on the GPU machine", b.checkFile},
	} {
		if err := t.screen.step(s.what, s.do); err != nil {
			return err
		}
	}
	_, err = t.run("keyway", "rm", "--yes", "train")
	return err
}

// open is keyway open, which stays for the rest of the demo.
func (b *book) open() error {
	cmd := b.laptop("keyway", "open", "--no-browser", "train", "jupyter")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	context.AfterFunc(b.ctx, func() { _ = cmd.Process.Kill() })
	b.lab.OnClose(func() error { _ = cmd.Process.Kill(); _ = cmd.Wait(); return nil })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("it gives no URL: %w", err)
	}
	u, err := url.Parse(strings.TrimSpace(line))
	if err != nil {
		return err
	}
	b.host, b.token = u.Host, u.Query().Get("token")
	return nil
}

func (b *book) dial(ctx context.Context, _, address string) (net.Conn, error) {
	return b.lab.Laptop.Dial(ctx, address)
}

// call requests JSON from Jupyter, and repeats the request until the port is connected.
func (b *book) call(method, path string, body, answer any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DialContext: b.dial, DisableKeepAlives: true}, Timeout: patience}
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		req, err := http.NewRequestWithContext(b.ctx, method, "http://"+b.host+path, bytes.NewReader(data))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "token "+b.token)
		if err = ask(&client, req, answer); err == nil || time.Now().After(end) || b.ctx.Err() != nil {
			return err
		}
	}
}

func ask(client *http.Client, req *http.Request, answer any) error {
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("%s %s: %s", req.Method, req.URL.Path, resp.Status)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(data, answer)
}

// run makes a notebook, and runs its cell until ten lines are printed.
func (b *book) run() (*websocket.Conn, error) {
	cell := map[string]any{"cell_type": "code", "id": "loop", "metadata": map[string]any{}, "source": cellCode, "outputs": []any{}, "execution_count": nil}
	doc := map[string]any{"type": "notebook", "format": "json", "content": map[string]any{"nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{}, "cells": []any{cell}}}
	if err := b.call("PUT", "/api/contents/demo.ipynb", doc, nil); err != nil {
		return nil, err
	}
	var session struct{ Kernel struct{ ID string } }
	asked := map[string]any{"path": "demo.ipynb", "name": "demo", "type": "notebook", "kernel": map[string]string{"name": "python3"}}
	if err := b.call("POST", "/api/sessions", asked, &session); err != nil {
		return nil, err
	}
	b.kernel = session.Kernel.ID
	d := websocket.Dialer{NetDialContext: b.dial, HandshakeTimeout: patience}
	at := "ws://" + b.host + "/api/kernels/" + b.kernel + "/channels?session_id=" + rand.Text()
	conn, _, err := d.DialContext(b.ctx, at, http.Header{"Authorization": {"token " + b.token}, "Origin": {"http://" + b.host}})
	if err != nil {
		return nil, err
	}
	m := wire.New("the-page", []byte("{}"), "shell", "execute_request", map[string]any{"code": cellCode, "silent": false, "store_history": true})
	m.Metadata = []byte(`{"cellId":"loop"}`)
	data, _ := m.Encode(wire.JSON)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	for err = conn.WriteMessage(websocket.TextMessage, data); err == nil; {
		if _, data, err = conn.ReadMessage(); err == nil && bytes.Contains(data, []byte(`line 9\n`)) {
			return conn, nil
		}
	}
	return nil, errors.Join(err, conn.Close())
}

// awaitEnd waits until the kernel is idle.
func (b *book) awaitEnd() error {
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		var kernels []struct{ Running, Queued, Clients int }
		if err := b.call("GET", "/keyway/kernels", nil, &kernels); err != nil {
			return err
		}
		if len(kernels) == 1 && kernels[0].Running+kernels[0].Queued+kernels[0].Clients == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not within %v: %+v", patience, kernels)
		}
	}
}

// check reads the notebook as a page does.
func (b *book) check() error {
	var model struct {
		Content struct {
			Cells []struct{ Outputs []struct{ Text string } }
		}
	}
	if err := b.call("GET", "/api/contents/demo.ipynb", nil, &model); err != nil {
		return err
	}
	var want strings.Builder
	for i := range cellLines {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if c := model.Content.Cells; len(c) != 1 || len(c[0].Outputs) != 1 || c[0].Outputs[0].Text != want.String() {
		return fmt.Errorf("it has %.300v", c)
	}
	return nil
}

// checkFile waits until the file has been written, ten seconds after the end.
func (b *book) checkFile() error {
	last := fmt.Sprintf("line %d", cellLines-1)
	for end := time.Now().Add(patience); ; time.Sleep(500 * time.Millisecond) {
		out, err := b.quietly("ssh", "train", "cat demo.ipynb")
		if err == nil {
			err = contains(out, last)
		}
		if err == nil || time.Now().After(end) || b.ctx.Err() != nil {
			return err
		}
	}
}
