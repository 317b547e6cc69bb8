package front

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/kernel"
	"keyway/internal/jupyter/notebook"
)

type websocketConn = websocket.Conn

// ofNotebook returns the kernels that run a notebook; none if several people share it.
func (f *Front) ofNotebook(ctx context.Context, path string) (all []*kernel.Kernel) {
	if f.aside(path) {
		return nil
	}
	sessions, err := f.sessions(ctx)
	if err != nil {
		f.Logf("%v", err)
		return nil
	}
	for _, s := range sessions {
		if k := f.find(s.Kernel.ID); k != nil && s.Path == path {
			all = append(all, k)
		}
	}
	return all
}

// forward sends a request on, and returns the whole answer.
func (f *Front) forward(r *http.Request, body []byte) (*http.Response, []byte, error) {
	out := r.Clone(r.Context())
	out.RequestURI, out.URL.Scheme, out.URL.Host = "", "http", host
	for _, h := range []string{"Accept-Encoding", "Connection", "If-None-Match", "If-Modified-Since", "Range", "Content-Length"} {
		out.Header.Del(h)
	}
	clean(out, f.upstream.Token)
	out.Body, out.ContentLength = http.NoBody, 0
	if body != nil {
		out.Body, out.ContentLength = readCloser(body), int64(len(body))
	}
	resp, err := f.transport.RoundTrip(out)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	data, err := readBody(resp.Body)
	if err == nil {
		err = f.modify(resp)
	}
	return resp, data, err
}

func answer(w http.ResponseWriter, resp *http.Response, data []byte, changed bool) {
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	for _, h := range []string{"Connection", "Transfer-Encoding"} {
		w.Header().Del(h)
	}
	if changed {
		w.Header().Del("Etag")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(data) // a client that left
}

// readNotebook puts what the kernel has said into a notebook for the one who reads it.
func (f *Front) readNotebook(w http.ResponseWriter, r *http.Request, path string) {
	kernels := f.ofNotebook(r.Context(), path)
	if len(kernels) == 0 {
		f.proxy.ServeHTTP(w, r)
		return
	}
	resp, data, err := f.forward(r, nil)
	if err != nil {
		f.unreachable(w, r, err)
		return
	}
	changed := false
	if model, doc := readModel(data); doc != nil && resp.StatusCode == http.StatusOK {
		for _, k := range kernels {
			ids, err := k.Splice(doc)
			if err != nil {
				f.Logf("%s: %v", path, err)
			}
			changed = changed || len(ids) > 0
		}
		if spliced, err := notebook.Format(model); changed && err == nil {
			data = spliced
		}
	}
	answer(w, resp, data, changed)
}

// readModel reads the model of a notebook as the contents API has it. doc is nil if it
// is none.
func readModel(data []byte) (model, doc notebook.Document) {
	model, err := notebook.Parse(data)
	if err != nil {
		return nil, nil
	}
	doc, _ = model["content"].(notebook.Document)
	return model, doc
}

// saveNotebook takes the marks out of what a client saves. If the file was written, the
// marked executions are the file's from then on.
func (f *Front) saveNotebook(w http.ResponseWriter, r *http.Request, path string) {
	data, err := readBody(r.Body)
	if err != nil {
		http.Error(w, "The notebook cannot be read: "+err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	var marks []string
	if model, doc := readModel(data); doc != nil {
		if marks = notebook.TakeMarks(doc); len(marks) > 0 {
			if data, err = notebook.Format(model); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
	}
	kernels := f.ofNotebook(r.Context(), path)
	resp, answered, err := f.forward(r, data)
	if err != nil {
		f.unreachable(w, r, err)
		return
	}
	if resp.StatusCode/100 == 2 {
		for _, k := range kernels {
			k.Settle(marks)
		}
	}
	answer(w, resp, answered, false)
}

// finished writes a notebook's file when a cell has ended and nobody is there.
func (f *Front) finished(k *kernel.Kernel) {
	select {
	case <-f.ctx.Done():
		return
	case <-time.After(f.Away):
	}
	if k.Unwritten() {
		f.write(k)
	}
}

func (f *Front) write(k *kernel.Kernel) {
	f.writing.Lock()
	defer f.writing.Unlock()
	_, _ = f.sessions(f.ctx) // the path may be known from before
	f.mu.Lock()
	path := f.paths[k.ID]
	f.mu.Unlock()
	if path == "" || filepath.Ext(path) != ".ipynb" || f.aside(path) {
		return
	}
	switch ids, err := f.writeFile(path, k); {
	case err != nil:
		f.Logf("%s is not written, its outputs are kept: %v", path, err)
	case len(ids) > 0:
		k.Written(ids)
		f.Logf("wrote the outputs of %d cells to %s: nobody was there", len(ids), path)
	}
}

// errChanged keeps a file that another has saved meanwhile.
var errChanged = errors.New("the file has changed meanwhile")

func (f *Front) writeFile(path string, k *kernel.Kernel) ([]string, error) {
	at := f.upstream.path("api/contents/" + path)
	var raw json.RawMessage
	if err := f.do(f.ctx, http.MethodGet, at, "type=notebook&content=1", nil, &raw); err != nil {
		return nil, err
	}
	model, doc := readModel(raw)
	if doc == nil {
		return nil, errors.New("the Jupyter server sends no notebook")
	}
	ids, err := k.SpliceFinished(doc)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	body, err := notebook.Format(notebook.Document{"type": "notebook", "format": "json", "content": doc})
	if err != nil {
		return nil, err
	}
	var now struct {
		Modified string `json:"last_modified"`
	}
	if err := f.do(f.ctx, http.MethodGet, at, "type=notebook&content=0", nil, &now); err != nil {
		return nil, err
	}
	if now.Modified != model["last_modified"] {
		return nil, errChanged
	}
	return ids, f.do(f.ctx, http.MethodPut, at, "", body, nil)
}

// gone writes what a kernel has said before its journal goes with it.
func (f *Front) gone(k *kernel.Kernel) {
	if k.Unwritten() {
		f.write(k)
	}
	f.mu.Lock()
	delete(f.kernels, k.ID)
	delete(f.paths, k.ID)
	f.mu.Unlock()
	if err := k.Forget(); err != nil {
		f.Logf("kernel %s: %v", k.ID, err)
	}
}

// sweep removes the journals of kernels that the Jupyter server does not have.
func (f *Front) sweep() error {
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if kernelID.MatchString(e.Name()) && f.find(e.Name()) == nil {
			if err := os.RemoveAll(filepath.Join(f.Dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// stepAside leaves a notebook to the server that several people edit it on: there, the
// document is the server's, and not the file.
func (f *Front) stepAside(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.shared[path] && len(f.shared) < 10000 {
		f.shared[path] = true
		f.Logf("%s is edited in a collaboration room: its outputs are that server's to keep, and are neither put in nor written here", path)
	}
}

func (f *Front) aside(path string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shared[path]
}

type byteBody struct{ *bytes.Reader }

func (byteBody) Close() error { return nil }

func readCloser(b []byte) byteBody { return byteBody{bytes.NewReader(b)} }
