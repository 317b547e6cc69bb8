package front

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/journal"
	"keyway/internal/jupyter/wire"
	"keyway/test/await"
)

// TestGuard checks every kind of route with every kind of invalid request: none reaches the Jupyter
// server or connects to a kernel.
func TestGuard(t *testing.T) {
	f := newFake(t)
	front, at := f.before(t.TempDir())
	routes := []struct{ method, path string }{
		{"GET", "/"}, {"GET", "/base/"}, {"GET", "/base/lab"}, {"GET", "/base/page"}, {"GET", "/base/api/contents/dir/x.ipynb"}, {"PUT", "/base/api/contents/dir/x.ipynb"},
		{"POST", "/base/api/kernels"}, {"GET", "/base/api/kernels/" + theKernel + "/channels"}, {"GET", "/base/terminals/websocket/1"},
		{"GET", "/base/keyway/kernels"}, {"POST", "/base/keyway/resume"}, {"GET", "/base/custom/custom.js"}, {"GET", "/base/login"}, {"GET", "/base/api"}, {"OPTIONS", "/base/api"}, {"GET", "/base/static/x.js"}, {"GET", "/base/files/secret"},
	}
	wrong := map[string]func(*http.Request){
		"no token":            func(*http.Request) {},
		"another token":       func(r *http.Request) { r.Header.Set("Authorization", "token "+token+"x") },
		"an empty token":      func(r *http.Request) { r.Header.Set("Authorization", "token ") },
		"the server's token":  func(r *http.Request) { r.Header.Set("Authorization", "token "+theirs) },
		"another scheme":      func(r *http.Request) { r.SetBasicAuth(token, token) },
		"the token as cookie": func(r *http.Request) { r.AddCookie(&http.Cookie{Name: cookieName(r), Value: token}) },
		"cookie of another port": func(r *http.Request) {
			r.AddCookie(&http.Cookie{Name: "keyway-jupyter-1", Value: front.cookie()})
		},
		"another name":     func(r *http.Request) { auth(r); r.Host = "evil.example:8888" },
		"a look-alike":     func(r *http.Request) { auth(r); r.Host = "localhost.evil.example" },
		"an address":       func(r *http.Request) { auth(r); r.Host = "192.0.2.1:8888" },
		"no name":          func(r *http.Request) { auth(r); r.Host = "" },
		"another origin":   func(r *http.Request) { auth(r); r.Header.Set("Origin", "http://evil.example") },
		"another port":     func(r *http.Request) { auth(r); r.Header.Set("Origin", "http://localhost:1") },
		"an opaque origin": func(r *http.Request) { auth(r); r.Header.Set("Origin", "null") },
		"a file's origin":  func(r *http.Request) { auth(r); r.Header.Set("Origin", "file://"+at) },
		"a script of another site": func(r *http.Request) {
			withCookie(front, r)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Mode", "no-cors")
		},
		"a script of another port": func(r *http.Request) {
			withCookie(front, r)
			r.Header.Set("Sec-Fetch-Site", "same-site")
			r.Header.Set("Sec-Fetch-Mode", "cors")
		},
	}
	for name, spoil := range wrong {
		for _, route := range routes {
			req := httptest.NewRequest(route.method, "http://"+at+route.path, nil)
			if strings.Contains(route.path, "channels") || strings.Contains(route.path, "websocket") {
				req.Header.Set("Connection", "Upgrade")
				req.Header.Set("Upgrade", "websocket")
			}
			spoil(req)
			w := httptest.NewRecorder()
			front.ServeHTTP(w, req)
			if w.Code != http.StatusForbidden || len(w.Result().Cookies()) > 0 {
				t.Errorf("%s: %s %s: %d", name, route.method, route.path, w.Code)
			}
		}
	}
	// Pages of every port send the cookie, so a request that changes something needs an origin.
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		req := httptest.NewRequest(method, "http://"+at+"/base/api/kernels", nil)
		withCookie(front, req)
		w := httptest.NewRecorder()
		front.ServeHTTP(w, req)
		if w.Code != http.StatusForbidden {
			t.Errorf("%s with a cookie and no origin: %d", method, w.Code)
		}
	}
	if len(f.seen) > 0 {
		t.Errorf("%d requests reached the Jupyter server, the first %s", len(f.seen), f.seen[0].URL)
	}
}

func auth(r *http.Request) { r.Header.Set("Authorization", "token "+token) }

func withCookie(f *Front, r *http.Request) {
	r.AddCookie(&http.Cookie{Name: cookieName(r), Value: f.cookie()})
}

func TestNoTokenNoFront(t *testing.T) {
	if _, err := New(Options{Upstream: Upstream{Base: "/"}}); err == nil {
		t.Error("a front without a token")
	}
	if same("", "") {
		t.Error("an empty token is a token")
	}
}

// TestBrowser checks that a browser uses the token once, and its cookie afterwards.
func TestBrowser(t *testing.T) {
	f := newFake(t)
	front, at := f.before(t.TempDir())
	req := httptest.NewRequest(http.MethodGet, "http://"+at+"/base/page?token="+token+"&a=b", nil)
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Site", "none")
	w := httptest.NewRecorder()
	front.ServeHTTP(w, req)
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || to != "/base/page?a=b" {
		t.Errorf("%d, to %q", w.Code, to)
	}
	cookie := w.Result().Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || strings.Contains(cookie.Value, token) {
		t.Errorf("%+v", cookie)
	}
	req = httptest.NewRequest(http.MethodGet, "http://"+at+"/base/page?a=b", nil)
	req.AddCookie(cookie)
	w = httptest.NewRecorder()
	front.ServeHTTP(w, req)
	if w.Code != http.StatusOK || w.Body.String() != "page" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	for _, c := range w.Result().Cookies() {
		if c.Name != "_xsrf" {
			t.Errorf("the Jupyter server's login %v reaches the browser", c)
		}
	}
	// A script or an editor sends the token in each request, as a header or in the query.
	for _, path := range []string{"/base/page", "/base/api/contents/dir/x.ipynb"} {
		before := len(f.seen)
		front.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://"+at+path+"?a=b&token="+token, nil))
		req = httptest.NewRequest(http.MethodGet, "http://"+at+path+"?token="+token, nil)
		auth(req)
		front.ServeHTTP(httptest.NewRecorder(), req)
		if len(f.seen) < before+2 {
			t.Errorf("%d requests for %s reach the Jupyter server", len(f.seen)-before, path)
		}
	}
	for _, r := range f.seen {
		if strings.Contains(r.URL.RawQuery, token) || strings.Contains(r.Header.Get("Authorization"), token) {
			t.Errorf("our token reaches the Jupyter server: %s", r.URL)
		}
	}
	// A redirect to another site is refused.
	req = httptest.NewRequest(http.MethodGet, "http://"+at+"//evil.example/?token="+token, nil)
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	w = httptest.NewRecorder()
	front.ServeHTTP(w, req)
	if to := w.Header().Get("Location"); strings.HasPrefix(to, "//") || strings.Contains(to, "http:") {
		t.Errorf("leads to %q", to)
	}
}

func outputs(doc document) string {
	cells, _ := doc["cells"].([]any)
	c, _ := cells[0].(map[string]any)
	list, _ := c["outputs"].([]any)
	var all strings.Builder
	for _, o := range list {
		text, _ := o.(map[string]any)["text"].(string)
		all.WriteString(text)
	}
	return all.String()
}

// TestFileIsWritten closes the page in mid-cell, and checks that the file gets the later output.
func TestFileIsWritten(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*fake)
		want  string
	}{
		"nobody there":    {func(*fake) {}, "hello\n"},
		"cannot be saved": {func(f *fake) { f.refuse = true }, ""},
		"changed between": {func(f *fake) {
			f.onRead = func(n int) {
				if n%2 == 0 && n <= 2*maxChanges { // the second read of an attempt
					f.modified += " by another"
				}
			}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			front, at := f.before(t.TempDir())
			c.spoil(f)
			page := dial(t, at, "one")
			page.execute("a")
			m := f.ask()
			_ = page.conn.Close()
			k := front.find(theKernel)
			await.That(t, "the page has left", func() bool { return k.Status().Clients == 0 })
			f.run(m, "hello\n")
			await.That(t, "two reads of the file", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.reads >= 2 })
			await.That(t, "the write has ended", func() bool {
				ended := front.writing.TryLock()
				if ended {
					front.writing.Unlock()
				}
				return ended
			})
			f.mu.Lock()
			if got := outputs(f.doc); got != c.want {
				t.Errorf("the file has %q", got)
			}
			f.mu.Unlock()
			// A reader of the notebook sees the output, whether the file has it or not.
			_, data := get(t, at, "api/contents/dir/x.ipynb")
			if _, doc := readModel(t, data); outputs(doc) != "hello\n" {
				t.Errorf("a reader has %s", data)
			}
			f.mu.Lock()
			f.refuse = false
			f.mu.Unlock()
			await.That(t, "the outputs in the file", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return outputs(f.doc) == "hello\n" })
		})
	}
}

// TestSave checks that a save removes the executions that the client has received, but only if the
// file was written.
func TestSave(t *testing.T) {
	f := newFake(t)
	front, at := f.before(t.TempDir())
	page := dial(t, at, "one")
	page.execute("a")
	f.run(f.ask(), "hello\n")
	page.until("idle")
	k := front.find(theKernel)
	_, data := get(t, at, "api/contents/dir/x.ipynb")
	model, doc := readModel(t, data)
	if outputs(doc) != "hello\n" || !strings.Contains(string(data), `"shown"`) {
		t.Fatalf("read: %s", data)
	}
	_ = page.conn.Close()
	f.mu.Lock()
	f.refuse = true // before the front writes the file
	f.mu.Unlock()
	await.That(t, "the page has left", func() bool { return k.Status().Clients == 0 })
	if code, _ := do(t, http.MethodPut, at, "api/contents/dir/x.ipynb", model); code != 500 || k.Status().Kept == 0 {
		t.Errorf("not saved: %d, %d bytes kept", code, k.Status().Kept)
	}
	f.mu.Lock()
	f.refuse = false
	f.mu.Unlock()
	if code, _ := do(t, http.MethodPut, at, "api/contents/dir/x.ipynb", model); code != 200 || k.Status().Kept != 0 {
		t.Errorf("saved: %d, %d bytes kept", code, k.Status().Kept)
	}
	if saved, _ := json.Marshal(f.doc); strings.Contains(string(saved), "shown") {
		t.Errorf("the file has a mark: %s", saved)
	}
}

// TestRoom checks that the front does not write a notebook that several people edit.
func TestRoom(t *testing.T) {
	f := newFake(t)
	_, at := f.before(t.TempDir())
	page := dial(t, at, "one")
	page.execute("a")
	f.run(f.ask(), "hello\n")
	page.until("idle")
	do(t, http.MethodPut, at, "api/collaboration/session/dir/x.ipynb", nil)
	if _, data := get(t, at, "api/contents/dir/x.ipynb"); strings.Contains(string(data), "hello") {
		t.Errorf("put in: %s", data)
	}
}

// TestKernelGone checks that the journal of a kernel that has ended is removed after its outputs
// were written.
func TestKernelGone(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	front, at := f.before(dir)
	page := dial(t, at, "one")
	page.execute("a")
	f.run(f.ask(), "hello\n")
	page.until("idle")
	f.mu.Lock()
	f.gone = true
	f.mu.Unlock()
	_ = page.conn.Close()
	f.drop()
	await.That(t, "the end of the record", func() bool { return front.find(theKernel) == nil })
	await.That(t, "no journal", func() bool { _, err := os.Stat(filepath.Join(dir, theKernel)); return os.IsNotExist(err) })
	f.mu.Lock()
	got := outputs(f.doc)
	f.mu.Unlock()
	if got != "hello\n" {
		t.Errorf("the file has %q", got)
	}
	if code, _ := get(t, at, "api/kernels/"+theKernel+"/channels"); code != 404 {
		t.Errorf("its channels: %d", code)
	}
}

// TestReplayOrder checks the form of replays that editors need: each begins and ends as an
// execution does, and clears the cell first.
func TestReplayOrder(t *testing.T) {
	f := newFake(t)
	front, at := f.before(t.TempDir())
	page := dial(t, at, "one")
	page.execute("a")
	m := f.ask()
	f.mu.Lock()
	f.refuse = true // a new session is shown outputs that no file has
	f.mu.Unlock()
	_ = page.conn.Close()
	await.That(t, "the page has left", func() bool { return front.find(theKernel).Status().Clients == 0 })
	f.run(m, "hello\n")
	await.That(t, "the end", func() bool { s := front.find(theKernel).Status(); return s.Running+s.Queued == 0 })
	got := dial(t, at, "two").until("idle")
	if want := []string{"busy", "busy", "clear_output", "execute_input", "stream", "execute_reply", "idle"}; !reflect.DeepEqual(got, want) {
		t.Errorf("a new session gets %v", got)
	}
	got = dial(t, at, "page").until("idle") // the session of the request, with a new connection
	if want := []string{"busy", "clear_output", "execute_input", "stream", "execute_reply", "idle"}; !reflect.DeepEqual(got[len(got)-len(want):], want) {
		t.Errorf("the same session gets %v", got)
	}
}

// TestRequestsWait checks that requests wait while the Jupyter server does not answer.
func TestRequestsWait(t *testing.T) {
	f := newFake(t)
	_, at := f.before(t.TempDir())
	page := dial(t, at, "one")
	page.execute("a")
	f.ask()
	f.mu.Lock()
	f.away = true
	f.mu.Unlock()
	f.drop()
	await.That(t, "an attempt to connect again", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.refused > 0 })
	page.execute("b")
	page.execute("c")
	f.mu.Lock()
	f.away = false
	f.mu.Unlock()
	for _, cell := range []string{"b", "c"} {
		if m := f.ask(); !strings.Contains(string(m.Metadata), cell) {
			t.Errorf("%s came in place of that of cell %s", m.Metadata, cell)
		}
	}
}

// dropIn ends the kernel's connection in the middle of a page's cell, which has printed a line. It
// returns the cell's request.
func (f *fake) dropIn(page *client) wire.Message {
	page.execute("a")
	m := f.ask()
	f.status(m, "busy")
	f.say(m, "iopub", "execute_input", map[string]any{"execution_count": 1, "code": "code"})
	f.say(m, "iopub", "stream", wire.Text{Name: "stdout", Text: "before\n"})
	page.until("stream")
	f.drop()
	return m
}

// TestConnectedAnew checks that pages are told of a new connection during a running cell.
func TestConnectedAnew(t *testing.T) {
	f := newFake(t)
	_, at := f.before(t.TempDir())
	page := dial(t, at, "page")
	m := f.dropIn(page)
	page.until("clear_output")
	got := page.until("stream")
	if want := []string{"execute_input", "stream"}; !reflect.DeepEqual(got, want) {
		t.Errorf("shown again: %v", got)
	}
	page.until("stream") // the notice
	f.say(m, "shell", "execute_reply", map[string]string{"status": "ok"})
	f.status(m, "idle")
	page.until("idle")
	if _, body := get(t, at, "api/contents/dir/x.ipynb"); !strings.Contains(string(body), "connected to the kernel again here") || strings.Count(string(body), "before") != 1 {
		t.Errorf("the notebook has %s", body)
	}
}

// TestEndIsLost checks a cell whose last messages were sent while the program was not connected.
// The kernel's answer to a later request shows that the cell has ended. A cell that still runs is
// not ended.
func TestEndIsLost(t *testing.T) {
	f := newFake(t)
	_, at := f.before(t.TempDir())
	page := dial(t, at, "page")
	f.dropIn(page)
	probe := <-f.probed
	page.execute("b")
	later := f.ask()
	f.status(probe, "busy")
	f.say(probe, "shell", "kernel_info_reply", map[string]string{"status": "ok"})
	f.status(probe, "idle")
	page.until("execute_reply")
	page.until("idle")
	var live []struct {
		ID string `json:"msg_id"`
	}
	if _, body := get(t, at, "keyway/executions?kernel="+theKernel); json.Unmarshal(body, &live) != nil || len(live) != 1 || live[0].ID != later.Head.ID {
		t.Errorf("go on: %v", live)
	}
	if _, body := get(t, at, "api/contents/dir/x.ipynb"); !strings.Contains(string(body), "has not heard the end of this cell") || strings.Count(string(body), "before") != 1 {
		t.Errorf("the notebook has %s", body)
	}
}

// news returns the cells that ended after the Nth, as the program's own command does.
func news(t *testing.T, at string, n int) (all News) {
	t.Helper()
	_, body := get(t, at, fmt.Sprint("keyway/news?after=", n))
	if err := json.Unmarshal(body, &all); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return all
}

// TestNews checks that a cell that ends while no client is connected is reported once.
func TestNews(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	front, at := f.before(dir)
	page := dial(t, at, "one")
	page.execute("a")
	m := f.ask()
	_ = page.conn.Close()
	await.That(t, "the page has left", func() bool { return front.find(theKernel).Status().Clients == 0 })
	f.run(m, "hello\n")
	if got := news(t, at, 0); got.Last != 1 || len(got.All) != 1 || got.All[0].Result != "finished" || got.All[0].Notebook != "dir/x.ipynb" { // the request waits for it
		t.Errorf("nobody was there: %+v", got)
	}
	for _, n := range []int{-1, 99} {
		if got := news(t, at, n); got.Last != 1 || len(got.All) != 0 {
			t.Errorf("after %d: %+v", n, got)
		}
	}
	front.Close()
	_, at = f.before(dir)
	if got := news(t, at, 0); got.Last != 1 || len(got.All) != 1 {
		t.Errorf("after a restart: %+v", got)
	}
}

// TestNewsCannotBeRead checks that a client is told of a cell even if the program has lost the
// number that the client knows.
func TestNewsCannotBeRead(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"a loop":  func(path string) error { return os.Symlink(path, path) },
		"damaged": func(path string) error { return os.WriteFile(path, []byte(`{"last":500,"news":[`), 0o600) },
		"no news": func(path string) error { return os.WriteFile(path, []byte(`{"last":"500"}`), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			dir := t.TempDir()
			if err := spoil(filepath.Join(dir, "news.json")); err != nil {
				t.Fatal(err)
			}
			front, at := f.before(dir)
			page := dial(t, at, "one")
			page.execute("a")
			m := f.ask()
			_ = page.conn.Close()
			await.That(t, "the page has left", func() bool { return front.find(theKernel).Status().Clients == 0 })
			f.run(m, "hello\n")
			got := news(t, at, 500) // the request waits for it
			if got.Last <= 500 || len(got.All) != 1 {
				t.Fatalf("after 500: %+v", got)
			}
			front.Close()
			_, at = f.before(dir)
			if again := news(t, at, 500); !reflect.DeepEqual(again, got) {
				t.Errorf("after a restart: %+v", again)
			}
		})
	}
}

// TestCellsAlikeAreWrittenInTurn writes the file after each of two cells with the same source. It
// checks that each cell has its own outputs.
func TestCellsAlikeAreWrittenInTurn(t *testing.T) {
	f := newFake(t)
	cell := func() any {
		return map[string]any{"cell_type": "code", "source": "code", "outputs": []any{}, "metadata": map[string]any{}}
	}
	f.doc = document{"nbformat": 4, "cells": []any{cell(), cell()}}
	front, at := f.before(t.TempDir())
	page := dial(t, at, "one")
	page.execute("")
	first := f.ask()
	page.execute("")
	second := f.ask()
	_ = page.conn.Close()
	await.That(t, "the page has left", func() bool { return front.find(theKernel).Status().Clients == 0 })
	file := func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		text, _ := json.Marshal(f.doc["cells"])
		return string(text)
	}
	f.run(first, "one\n")
	await.That(t, "the first in the file", func() bool { return strings.Contains(file(), `one\n`) })
	f.run(second, "two\n")
	await.That(t, "the second in the file", func() bool { return strings.Contains(file(), `two\n`) })
	if got := file(); !strings.Contains(got, `one\n`) || strings.Index(got, `one\n`) > strings.Index(got, `two\n`) {
		t.Errorf("the file has %s", got)
	}
}

// TestSweep checks that the journals of kernels that have ended are removed.
func TestSweep(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	old := filepath.Join(dir, "ffffffff-ffff-ffff-ffff-ffffffffffff")
	if err := os.MkdirAll(old, 0o700); err != nil {
		t.Fatal(err)
	}
	front, _ := f.before(dir)
	if err := front.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Error("an old journal is left")
	}
	if front.find(theKernel) == nil {
		t.Error("the kernel is not connected to")
	}
}

// TestResumeGoesOn checks that the front connects to kernels without a client as soon as the server
// lists them. A kernel whose journal cannot be read, or takes long, does not stop the others, and is
// tried again.
func TestResumeGoesOn(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	f.unlisted = 2
	front, _ := f.before(dir)
	if err := front.Resume(t.Context()); err == nil {
		t.Error("no error from a server that does not tell")
	}
	await.That(t, "a connection to the kernel", func() bool { return front.find(theKernel) != nil })

	dir = t.TempDir()
	old := filepath.Join(dir, "ffffffff-ffff-ffff-ffff-ffffffffffff")
	if err := os.WriteFile(filepath.Join(dir, theKernel), nil, 0o600); err != nil { // a file in place of the directory
		t.Fatal(err)
	}
	if err := os.Mkdir(old, 0o700); err != nil {
		t.Fatal(err)
	}
	front, _ = f.before(dir)
	if err := front.Resume(t.Context()); err == nil {
		t.Error("no error from a journal that cannot be read")
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Error("an old journal is left")
	}
	if err := os.Remove(filepath.Join(dir, theKernel)); err != nil {
		t.Error(err)
	}
	await.That(t, "a connection to the kernel whose journal can be read now", func() bool { return front.find(theKernel) != nil })
}

// TestSweepAtTheEnd checks that a sweep while the program ends keeps the records of kernels that
// still run.
func TestSweepAtTheEnd(t *testing.T) {
	f := newFake(t)
	front, dir, _ := inMidCell(t, f)
	front.Close()
	front.sweep(nil)
	j, err := journal.Open(filepath.Join(dir, theKernel), journal.Default, false)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if all := j.Executions(); len(all) != 1 || all[0].Finished() {
		t.Errorf("the journal has %d executions, of which the first has ended", len(all))
	}
}

// TestResumeIsBounded delays the server's answer with a notebook. It checks that clients do not
// wait for it, and that the outputs are written nevertheless.
func TestResumeIsBounded(t *testing.T) {
	f := newFake(t)
	front, dir, _ := inMidCell(t, f)
	front.Close()
	ctx, cancel := context.WithCancel(t.Context())
	reading := make(chan struct{})
	f.mu.Lock()
	f.none, f.modified = true, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano)
	f.onRead = func(int) { cancel(); <-reading }
	f.mu.Unlock()
	again, _ := f.before(dir)
	resumed := make(chan error, 1)
	go func() { resumed <- again.Resume(ctx) }()
	select {
	case err := <-resumed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(await.Patience):
		t.Error("Resume waits")
	}
	close(reading)
	await.That(t, "the end of the record", func() bool { _, err := os.Stat(filepath.Join(dir, theKernel)); return os.IsNotExist(err) })
	f.isIn(stopped)
}

// TestAJournalThatIsRead delays the reading of one kernel's journal. It checks that clients of
// other kernels are served meanwhile.
func TestAJournalThatIsRead(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	front, at := f.before(dir)
	page := dial(t, at, "one")
	const slow = "ffffffff-ffff-ffff-ffff-ffffffffffff"
	reading, read := make(chan struct{}), make(chan struct{})
	front.upstream.Left = func(id string) bool {
		if id == slow {
			close(reading)
			<-read
		}
		return false
	}
	opened := make(chan error, 1)
	go func() { _, err := front.kernel(t.Context(), slow); opened <- err }()
	<-reading
	end := sync.OnceFunc(func() { close(read) })
	t.Cleanup(end) // before the front's
	page.execute("a")
	f.run(f.ask(), "hello\n")
	page.until("idle")
	dial(t, at, "two")
	if code, data := get(t, at, "keyway/kernels"); code != http.StatusOK || !strings.Contains(string(data), theKernel) {
		t.Errorf("%d %s", code, data)
	}
	end()
	if err := <-opened; err != nil {
		t.Error(err)
	}
	await.That(t, "the end of a kernel that the server does not have", func() bool { _, err := os.Stat(filepath.Join(dir, slow)); return os.IsNotExist(err) })
}

func FuzzHost(f *testing.F) {
	for _, host := range []string{"localhost", "localhost:8888", "127.0.0.1:1", "[::1]:2", "evil.example", "localhost.", "127.1", "[::1%25x]:2"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if localHost(host) && !strings.Contains(strings.ToLower(host), "localhost") && !strings.Contains(host, "127.") && !strings.Contains(host, ":") {
			t.Errorf("%q is no name of this machine", host)
		}
	})
}

// TestKernelPaths compares the reading of a kernel's paths with an expression.
func TestKernelPaths(t *testing.T) {
	expression := regexp.MustCompile(`^api/kernels/([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})/restart$`)
	for _, id := range []string{theKernel, strings.ToUpper("a" + theKernel[1:]), theKernel[1:], theKernel + "0", "g" + theKernel[1:], "-" + theKernel[1:], strings.ReplaceAll(theKernel, "-", "0"), "", "..", theKernel[:35] + "é"} {
		for _, path := range []string{"api/kernels/" + id + "/restart", "api/kernels/" + id + "/restart/", "api/kernels/" + id, id + "/restart", "/api/kernels/" + id + "/restart", "api/kernels/" + id + "\n/restart"} {
			want := expression.FindStringSubmatch(path)
			if got, ok := kernelOf(path, "restart"); ok != (want != nil) || ok && got != want[1] {
				t.Errorf("%q is the path of %q, %v", path, got, ok)
			}
		}
	}
}

// TestState checks that the state of a kernel is the one that it has sent or, before that, the
// Jupyter server's.
func TestState(t *testing.T) {
	f := newFake(t)
	_, at := f.before(t.TempDir())
	state := func() string {
		var all []KernelStatus
		if _, body := get(t, at, "keyway/kernels"); json.Unmarshal(body, &all) != nil || len(all) != 1 {
			t.Fatalf("the kernels are %s", body)
		}
		return all[0].State
	}
	page := dial(t, at, "one")
	if s := state(); s != "starting" {
		t.Errorf("at first it is %s", s)
	}
	page.execute("a")
	f.run(f.ask(), "hello\n")
	page.until("idle")
	if s := state(); s != "idle" {
		t.Errorf("after a cell it is %s", s)
	}
}

// TestClientsWithoutASession checks that a client without a session counts as a new one each time:
// it gets all outputs that no connected client has.
func TestClientsWithoutASession(t *testing.T) {
	f := newFake(t)
	f.refuse = true // outputs that a file has are shown only in the notebook
	front, at := f.before(t.TempDir())
	page := dial(t, at, "")
	page.execute("a")
	f.run(f.ask(), "hello\n")
	page.until("idle")
	for range 2 {
		_ = page.conn.Close()
		await.That(t, "the page has left", func() bool { return front.find(theKernel).Status().Clients == 0 })
		page = dial(t, at, "")
		if kinds := page.until("idle"); !slices.Contains(kinds, "stream") {
			t.Errorf("it gets %v", kinds)
		}
	}
}

// TestNotQuiteJSON has a kernel send texts that other languages accept as JSON, in the encoding in
// which the Jupyter server passes them on unread. It checks that the page and the notebook get the parts
// that can be shown, and a notice in place of the rest, and that the cell ends.
func TestNotQuiteJSON(t *testing.T) {
	f := newFake(t)
	f.raw = func(w http.ResponseWriter, r *http.Request) {
		conn, err := (&websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}).Upgrade(w, r, nil)
		if err == nil {
			f.receive(conn, wire.V1)
		}
	}
	_, at := f.before(t.TempDir())
	page := dial(t, at, "one")
	page.execute("a")
	to := f.ask()
	say := func(channel, kind, content string) {
		m := wire.New("kernel", to.Header, channel, kind, struct{}{})
		m.Content, m.Metadata = []byte(content), []byte("[]")
		data, _ := m.Encode(wire.V1)
		f.mu.Lock()
		defer f.mu.Unlock()
		if err := f.sockets[0].WriteMessage(websocket.BinaryMessage, data); err != nil {
			t.Error(err)
		}
	}
	say("iopub", "execute_input", `{"execution_count":1,"code":"code"}`)
	say("iopub", "display_data", `{"data":{"application/json":{"loss":NaN}},"metadata":{}}`)
	say("iopub", "stream", `{"name":"stdout","text":"before"}`)
	say("iopub", "display_data", `{"data":{"text/plain":undefined}}`)
	say("iopub", "stream", `{"name":"stdout","text":"after"}`)
	say("shell", "execute_reply", `{"status":"ok","user_expressions":{"x":inf}}`)
	say("iopub", "status", `{"execution_state":"idle"}`)
	if kinds, want := page.until("idle"), []string{"execute_input", "display_data", "stream", "stream", "stream", "execute_reply", "idle"}; !slices.Equal(kinds, want) {
		t.Errorf("the page gets %v, not %v", kinds, want)
	}
	const want = `{"application/json":{"loss":null}}` + ` before` + "\n[a message of the kernel is left out here: it is not valid JSON]\n" + `after`
	_, data := get(t, at, "api/contents/dir/x.ipynb?content=1")
	var got struct {
		Content struct {
			Cells []struct {
				Outputs []struct {
					Data json.RawMessage
					Text string
				}
			}
		}
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	var shown []string
	for _, o := range got.Content.Cells[0].Outputs {
		shown = append(shown, string(o.Data)+o.Text)
	}
	if len(shown) != 4 || shown[0]+" "+strings.Join(shown[1:], "") != want {
		t.Errorf("the notebook has %q", shown)
	}
}
