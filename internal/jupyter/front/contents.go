package front

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/kernel"
	"keyway/internal/jupyter/notebook"
)

type websocketConn = websocket.Conn

// ofNotebook returns the kernels that run a notebook; none if several people share it. If the
// Jupyter server does not answer, ofNotebook uses the server's last answer.
func (f *Front) ofNotebook(ctx context.Context, path string) (all []*kernel.Kernel) {
	if f.aside(path) {
		return nil
	}
	sessions, err := f.sessions(ctx)
	if err != nil {
		f.Logf("%v", err)
		return f.knownOf(path)
	}
	for _, s := range sessions {
		if k := f.find(s.Kernel.ID); k != nil && s.Path == path {
			all = append(all, k)
		}
	}
	return all
}

// knownOf returns the kernels that ran a notebook, according to the Jupyter server's last answer.
func (f *Front) knownOf(path string) (all []*kernel.Kernel) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, k := range f.kernels {
		if slices.Contains(f.paths[id], path) {
			all = append(all, k)
		}
	}
	return all
}

// forward sends a request to the Jupyter server, with body unless that is nil. The caller closes
// the body of the answer.
func (f *Front) forward(r *http.Request, body *spool) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.RequestURI, out.URL.Scheme, out.URL.Host = "", "http", host
	for _, h := range []string{"Accept-Encoding", "Connection", "If-None-Match", "If-Modified-Since", "Range", "Content-Length", "Transfer-Encoding"} {
		out.Header.Del(h)
	}
	clean(out, f.upstream.Token)
	out.Body, out.ContentLength, out.TransferEncoding = http.NoBody, 0, nil
	if body != nil {
		body.send(out)
	}
	resp, err := f.transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	return resp, f.modify(resp)
}

// answer sends an answer to the client, with edits applied to its body.
func (f *Front) answer(w http.ResponseWriter, resp *http.Response, body *spool, edits []notebook.Edit) {
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	for _, h := range []string{"Connection", "Transfer-Encoding", "Content-Length"} {
		w.Header().Del(h)
	}
	if len(edits) > 0 {
		w.Header().Del("Etag")
	} else {
		w.Header().Set("Content-Length", strconv.FormatInt(body.size, 10))
	}
	w.WriteHeader(resp.StatusCode)
	buffered := bufio.NewWriterSize(w, 64<<10)
	err := notebook.Apply(buffered, body, body.all(), edits)
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil { // the client has left, or the answer is incomplete and must not look complete
		f.Logf("%s: %v", resp.Request.URL.Path, err)
		panic(http.ErrAbortHandler)
	}
}

// readNotebook answers a request for a notebook. It inserts the outputs that kernels have produced
// and that the file does not have.
func (f *Front) readNotebook(w http.ResponseWriter, r *http.Request, path string) {
	kernels := f.ofNotebook(r.Context(), path)
	if len(kernels) == 0 {
		f.proxy.ServeHTTP(w, r)
		return
	}
	resp, err := f.forward(r, nil)
	if err != nil {
		f.unreachable(w, r, err)
		return
	}
	defer resp.Body.Close()
	body, err := f.spool(resp.Body)
	if err != nil { // the disk is full: the client gets the file unchanged
		f.Logf("%s is shown without what the kernel said: %v", path, err)
		f.proxy.ServeHTTP(w, r)
		return
	}
	defer body.Close()
	var edits []notebook.Edit
	if doc, err := body.scan(); err == nil && resp.StatusCode == http.StatusOK {
		var runs []notebook.Run
		for _, k := range kernels {
			runs = append(runs, k.Runs()...)
		}
		edits, _ = doc.Splice(runs)
	}
	f.answer(w, resp, body, edits)
}

// saveNotebook passes a client's notebook to the Jupyter server, without its marks. If the server
// has written the file, the journals forget the marked executions.
func (f *Front) saveNotebook(w http.ResponseWriter, r *http.Request, path string) {
	body, err := f.spool(r.Body)
	if err != nil {
		http.Error(w, "The notebook cannot be read: "+err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	defer func() { body.Close() }()
	var marks []string
	if doc, err := body.scan(); err == nil {
		var edits []notebook.Edit
		if edits, marks = doc.TakeMarks(); len(edits) > 0 {
			cleaned, err := f.spoolOf(func(w io.Writer) error { return notebook.Apply(w, body, body.all(), edits) })
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			body.Close()
			body = cleaned
		}
	}
	kernels := f.ofNotebook(r.Context(), path)
	resp, err := f.forward(r, body)
	if err != nil {
		f.unreachable(w, r, err)
		return
	}
	defer resp.Body.Close()
	answered, err := f.spool(resp.Body)
	if err != nil {
		f.unreachable(w, r, err)
		return
	}
	defer answered.Close()
	if resp.StatusCode/100 == 2 {
		for _, k := range kernels {
			k.Settle(marks)
		}
	}
	f.answer(w, resp, answered, nil)
}

// finished writes a notebook's file when a cell has ended and no client is connected.
func (f *Front) finished(k *kernel.Kernel) {
	select {
	case <-f.ctx.Done():
		return
	case <-time.After(f.Away):
	}
	if k.Unwritten() && !f.write(f.ctx, k, false) {
		k.TryAgain(max(f.Away, time.Second) * writeAgain)
	}
	f.tell(k)
}

// writeAgain is the time before the next attempt to write a file, in units of Away.
const writeAgain = 3

// writeTime bounds one attempt to write a file. A server whose disk hangs does not answer, and the
// files of other kernels wait meanwhile.
const writeTime = 5 * time.Minute

// write writes the outputs of a kernel into its notebooks. If no notebook has the cells, writeLost
// follows. write reports whether another attempt is unnecessary.
func (f *Front) write(ctx context.Context, k *kernel.Kernel, last bool) (done bool) {
	f.writing.Lock()
	defer f.writing.Unlock()
	paths, unclear, done := f.writeKnown(ctx, k, last)
	return done && (len(paths) == 0 || f.writeLost(ctx, paths, k, unclear, last))
}

// writeKnown writes the outputs of a kernel into the notebooks at the known paths, which it returns.
// An execution that may belong to cells of several notebooks is not written: a client that reads one
// of them sees it. Only the last write of a kernel puts it into the first of these notebooks. The
// caller holds writing.
func (f *Front) writeKnown(ctx context.Context, k *kernel.Kernel, last bool) (paths, unclear []string, done bool) {
	first, cancel := context.WithTimeout(ctx, f.writeTime)
	defer cancel()
	_, err := f.sessions(first)
	f.mu.Lock()
	paths = f.paths[k.ID]
	f.mu.Unlock()
	done = err == nil || len(paths) > 0 // the paths may be known from an earlier answer
	paths = slices.DeleteFunc(slices.Clone(paths), func(path string) bool { return filepath.Ext(path) != ".ipynb" || f.aside(path) })
	if len(paths) > 1 && !last {
		all := len(paths)
		unclear, paths = f.unclear(first, paths, k)
		done = done && len(paths) == all
	}
	for _, path := range paths {
		done = f.writeTo(ctx, path, k, unclear) && done
	}
	return paths, unclear, done
}

// unclear returns the executions that have a cell in more than one of the notebooks. Two cells may
// have the same source, and a copy of a notebook has the same cell ids. legible are the paths
// without those of notebooks that exist and cannot be read.
func (f *Front) unclear(ctx context.Context, paths []string, k *kernel.Kernel) (all, legible []string) {
	runs, _ := k.RunsFinished()
	seen := map[string]bool{}
	for _, path := range paths {
		file, doc, err := f.fetch(ctx, path)
		if err != nil && !isMissing(err) {
			f.notWritten(path, err)
			continue
		}
		legible = append(legible, path)
		if err != nil {
			continue
		}
		_, ids := doc.Splice(runs)
		_ = file.Close()
		for _, id := range ids {
			if seen[id] {
				all = append(all, id)
			}
			seen[id] = true
		}
	}
	return all, legible
}

func isMissing(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Code == http.StatusNotFound
}

func (f *Front) writeTo(ctx context.Context, path string, k *kernel.Kernel, unclear []string) (done bool) {
	ctx, cancel := context.WithTimeout(ctx, f.writeTime)
	defer cancel()
	var w written
	err := errChanged
	for n := 0; n < maxChanges && errors.Is(err, errChanged); n++ {
		w, err = f.writeFile(ctx, path, k, unclear)
	}
	switch {
	case err != nil:
		f.notWritten(path, err)
		return isMissing(err)
	case len(w.ids) > 0 && w.path != path:
		k.Written(w.ids, w.said)
		f.Logf("wrote the outputs of %d cells to %s: %s was saved after its kernel's end, and has not all of them", len(w.ids), w.path, path)
	case len(w.ids) > 0:
		k.Written(w.ids, w.said)
		f.Logf("wrote the outputs of %d cells to %s: nobody was there", len(w.ids), path)
	}
	f.notWritten(path, nil)
	return true
}

// notWritten logs that a file cannot be written. It does so once, until a write succeeds.
func (f *Front) notWritten(path string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		delete(f.failed, path)
		return
	}
	if why := err.Error(); f.failed[path] != why {
		f.failed[path] = why
		f.Logf("%s is not written, its outputs are kept: %v", path, err)
	}
}

// maxChanges bounds the consecutive attempts to write a file that another program saves at the same
// time.
const maxChanges = 3

// errChanged means that another program has saved the file during a write.
var errChanged = errors.New("the file has changed meanwhile")

// fetch reads a notebook. The caller closes the spool.
func (f *Front) fetch(ctx context.Context, path string) (*spool, *notebook.Document, error) {
	resp, err := f.ask(ctx, http.MethodGet, f.upstream.path("api/contents/"+path), "type=notebook&content=1", nil)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	file, err := f.spool(resp.Body)
	if err != nil {
		return nil, nil, err
	}
	doc, err := file.scan()
	if err != nil {
		file.Close()
		return nil, nil, fmt.Errorf("the Jupyter server sends no notebook: %w", err)
	}
	return file, doc, nil
}

// written describes the outputs that were written to a file.
type written struct {
	path string
	ids  []string       // of the executions
	said map[string]int // by execution: its Said at that time
}

// writeFile writes the outputs of a kernel into a notebook. If the notebook was saved after the
// kernel's end, writeFile writes a copy beside it instead.
func (f *Front) writeFile(ctx context.Context, path string, k *kernel.Kernel, unclear []string) (w written, err error) {
	at := f.upstream.path("api/contents/" + path)
	file, doc, err := f.fetch(ctx, path)
	if err != nil {
		return w, err
	}
	defer file.Close()
	runs, said := k.RunsFinished()
	for i := range runs {
		if slices.Contains(unclear, runs[i].ID) {
			runs[i].Outputs = nil
		}
	}
	edits, ids := doc.Splice(runs)
	ids = slices.DeleteFunc(ids, func(id string) bool {
		return slices.ContainsFunc(runs, func(r notebook.Run) bool { return r.ID == id && r.Outputs == nil })
	})
	if len(ids) == 0 {
		return w, nil
	}
	body, err := f.model(file, doc, edits)
	if err != nil {
		return w, err
	}
	defer body.Close()
	var now struct {
		Modified string `json:"last_modified"`
	}
	if err := f.do(ctx, http.MethodGet, at, "type=notebook&content=0", &now); err != nil {
		return w, err
	}
	if now.Modified != doc.Modified {
		return w, errChanged
	}
	w = written{path, ids, said}
	if f.overtaken(k.ID, doc.Modified) {
		if w.path, err = f.beside(ctx, path); err != nil {
			return w, err
		}
	}
	saved, err := f.ask(ctx, http.MethodPut, f.upstream.path("api/contents/"+w.path), "", body)
	if err != nil {
		return w, err
	}
	return w, saved.Body.Close()
}

// model returns a notebook with edits, as the contents API receives it. The caller closes it.
func (f *Front) model(file *spool, doc *notebook.Document, edits []notebook.Edit) (*spool, error) {
	return f.spoolOf(func(w io.Writer) error {
		_, err := io.WriteString(w, `{"type":"notebook","format":"json","content":`)
		if err == nil {
			err = notebook.Apply(w, file, doc.Content, edits)
		}
		if err == nil {
			_, err = io.WriteString(w, "}")
		}
		return err
	})
}

// maxBeside bounds the copies of a notebook.
const maxBeside = 100

// beside returns a free path for a copy of a notebook.
func (f *Front) beside(ctx context.Context, path string) (string, error) {
	base, number := strings.TrimSuffix(path, ".ipynb"), ""
	for n := 2; n <= maxBeside; n++ {
		free := base + " (outputs kept" + number + ").ipynb"
		err := f.do(ctx, http.MethodGet, f.upstream.path("api/contents/"+free), "content=0", nil)
		if isMissing(err) {
			return free, nil
		}
		if err != nil {
			return "", err
		}
		number = " " + strconv.Itoa(n)
	}
	return "", fmt.Errorf("%s has %d copies already", path, maxBeside)
}

// gone writes the outputs of a kernel that has ended and that the Jupyter server has forgotten,
// before their journal is removed.
func (f *Front) gone(k *kernel.Kernel) {
	defer f.ending.lock(k.ID)()
	f.mu.Lock()
	ours := f.kernels[k.ID] == k
	delete(f.kernels, k.ID)
	f.mu.Unlock()
	if ours {
		f.end(k)
	}
}

// end writes the outputs of a kernel that has ended, and removes its journal. If a file cannot be
// written, the journal stays for the next start. end reports whether the journal was removed.
func (f *Front) end(k *kernel.Kernel) (done bool) {
	done = !k.End() || f.write(f.ctx, k, true)
	f.mu.Lock()
	_, left := f.left[k.ID]
	delete(f.paths, k.ID)
	delete(f.left, k.ID)
	delete(f.unnoted, k.ID)
	f.mu.Unlock()
	if !done {
		k.Leave()
		if !left {
			f.stamp(k.ID)
		}
		return false
	}
	if err := k.Forget(); err != nil {
		f.Logf("kernel %s: %v", k.ID, err)
	}
	return true
}

// stamp sets the time of the journal of a kernel that has just ended. At the next start, only a
// notebook with a later time counts as saved after the kernel's end.
func (f *Front) stamp(id string) {
	files, _ := filepath.Glob(filepath.Join(f.Dir, id, "*.*")) // the pattern is well formed
	if now := time.Now(); len(files) > 0 {
		if err := os.Chtimes(files[len(files)-1], now, now); err != nil {
			f.Logf("kernel %s: %v", id, err)
		}
	}
}

// overtaken reports whether a notebook was saved after the last output of a kernel that ended while
// this program did not run.
func (f *Front) overtaken(id, modified string) bool {
	f.mu.Lock()
	at, left := f.left[id]
	f.mu.Unlock()
	saved, err := time.Parse(time.RFC3339Nano, modified)
	return left && (err != nil || saved.After(at))
}

// salvage writes the outputs in the journal of a kernel that has ended. It reports whether the
// journal can be removed.
func (f *Front) salvage(id string) (done bool) {
	path, err := os.ReadFile(f.noted(id))
	if errors.Is(err, os.ErrNotExist) { // no notebook has used the kernel
		return true
	}
	var at time.Time
	if err == nil {
		at, err = lastChange(filepath.Join(f.Dir, id))
	}
	var k *kernel.Kernel
	if err == nil {
		k, err = kernel.Read(id, f.options(id))
	}
	if err != nil {
		f.Logf("the journal of kernel %s, which has ended, stays for the next start: %v", id, err)
		return false
	}
	f.mu.Lock()
	f.paths[id], f.left[id] = strings.Split(string(path), pathEnd), at
	f.mu.Unlock()
	return f.end(k)
}

// lastChange returns the time at which a file of a journal was last written.
func lastChange(dir string) (at time.Time, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return at, err
	}
	for _, file := range files {
		if !strings.Contains(file.Name(), ".") {
			continue // the file with the paths of the notebooks
		}
		info, err := file.Info()
		if err != nil {
			return at, err
		}
		if info.ModTime().After(at) {
			at = info.ModTime()
		}
	}
	return at, nil
}

// sweep ends the journals of kernels that the Jupyter server does not have. theirs lists the
// kernels that it has. A journal that cannot be ended stays for the next start. One that takes long
// keeps the others back for openTime, and is then ended beside them.
func (f *Front) sweep(theirs []string) {
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		f.Logf("the records of kernels that have ended stay: %v", err)
	}
	for _, e := range entries {
		id := e.Name()
		if !isKernelID(id) || slices.Contains(theirs, id) {
			continue
		}
		done := make(chan struct{})
		f.work.Go(func() { f.sweepOne(id); close(done) })
		select {
		case <-done:
		case <-time.After(f.openTime):
		}
	}
}

func (f *Front) sweepOne(id string) {
	defer f.ending.lock(id)()
	if !f.isOver(id) {
		return
	}
	done, dir := f.salvage(id), filepath.Join(f.Dir, id)
	if !done && isOld(dir) {
		f.Logf("kernel %s: what it has shown could not be written for 30 days, and is deleted", id)
		done = true
	}
	if done {
		if err := os.RemoveAll(dir); err != nil {
			f.Logf("kernel %s: %v", id, err)
		}
	}
}

// isOld reports whether a journal has not changed for 30 days and could not be written for as long.
// The first start that fails to write it leaves a file with that time. So a wrong clock during the
// kernel's life makes no journal old.
func isOld(dir string) bool {
	const age = 30 * 24 * time.Hour
	name := filepath.Join(dir, "unwritten")
	first, err := os.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		err = os.WriteFile(name, nil, 0o600)
		first = nil
	}
	at, changeErr := lastChange(dir)
	return errors.Join(err, changeErr) == nil && first != nil && !at.IsZero() && time.Since(at) > age && time.Since(first.ModTime()) > age
}

// stepAside excludes a notebook that several people edit in a room of the server. There, the server
// owns the document, and the file is only a copy.
func (f *Front) stepAside(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.shared[path] && len(f.shared) < 10000 {
		f.shared[path] = true
		for id, all := range f.paths {
			if slices.Contains(all, path) {
				f.note(id)
			}
		}
		f.Logf("%s is edited in a collaboration room: its outputs are that server's to keep, and are neither put in nor written here", path)
	}
}

func (f *Front) aside(path string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shared[path]
}
