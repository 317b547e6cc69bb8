package front

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"keyway/internal/jupyter/kernel"
)

// KernelStatus is the state of a kernel, as a client sees it.
type KernelStatus struct {
	ID       string `json:"id"`
	Notebook string `json:"notebook"` // its path, or several paths with ", " between them; empty if the Jupyter server knows none
	kernel.Status
}

// own serves the requests that pages and keyway make to this program itself:
//
//	GET  keyway/kernels                                kernels and their notebooks
//	GET  keyway/news?after=N                           cells whose end no page saw, after the Nth
//	GET  keyway/executions?kernel=ID                   executions that have not ended
//	POST keyway/resume?kernel=ID&session=S&execution=E show an execution to a session again
func (f *Front) own(w http.ResponseWriter, r *http.Request, what string) {
	k := f.find(r.URL.Query().Get("kernel"))
	switch {
	case what == "kernels" && r.Method == http.MethodGet:
		writeJSON(w, f.status(r))
	case what == "news" && r.Method == http.MethodGet:
		f.serveNews(w, r)
	case k == nil:
		http.NotFound(w, r)
	case what == "executions" && r.Method == http.MethodGet:
		writeJSON(w, k.Live())
	case what == "resume" && r.Method == http.MethodPost:
		if !k.Resume(r.URL.Query().Get("session"), r.URL.Query().Get("execution")) {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

func (f *Front) status(r *http.Request) []KernelStatus {
	states := f.endRecords(r.Context())
	_, _ = f.sessions(r.Context()) // after an error, the earlier answer is used
	f.mu.Lock()
	defer f.mu.Unlock()
	var order []string // kernels, sorted by notebook
	for id := range f.kernels {
		order = append(order, f.notebooks(id)+"\n"+id)
	}
	slices.Sort(order)
	all := []KernelStatus{}
	for _, key := range order {
		id := key[strings.LastIndex(key, "\n")+1:]
		s := f.kernels[id].Status()
		s.State = cmp.Or(s.State, states[id], "unknown")
		all = append(all, KernelStatus{ID: id, Notebook: f.notebooks(id), Status: s})
	}
	return all
}

// notebooks returns the paths of a kernel's notebooks, as text for people. The caller holds mu.
func (f *Front) notebooks(id string) string { return strings.Join(f.paths[id], ", ") }

// endRecords ends the journals of kernels that the Jupyter server does not have any more. It leaves
// their websockets open. It returns the states of the other kernels, as the server gives them.
func (f *Front) endRecords(ctx context.Context) map[string]string {
	f.mu.Lock()
	known := slices.Collect(maps.Values(f.kernels))
	f.mu.Unlock()
	all, err := f.theirKernels(ctx)
	if err != nil {
		return nil // an error does not prove that the server has no kernels
	}
	states := map[string]string{}
	for _, k := range all {
		states[k.ID] = k.State
	}
	for _, k := range known {
		if _, there := states[k.ID]; !there {
			f.gone(k)
		}
	}
	return states
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // a client that left
}

// classic is the script with which a page of the classic notebook continues the running cells.
//
//go:embed classic.js
var classic string

// addScript appends the script to the custom.js that the classic notebook loads with each page.
func addScript(resp *http.Response) error {
	var own []byte
	if resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Encoding") == "" {
		var err error
		if own, err = readBody(resp.Body); err != nil {
			return err
		}
	}
	_ = resp.Body.Close()
	all := strings.TrimSpace(string(own)) + "\n" + classic
	resp.Body = io.NopCloser(strings.NewReader(all))
	resp.StatusCode, resp.Status, resp.ContentLength = http.StatusOK, "200 OK", int64(len(all))
	for _, h := range []string{"Etag", "Last-Modified", "Content-Encoding"} {
		resp.Header.Del(h)
	}
	resp.Header.Set("Content-Type", "application/javascript")
	resp.Header.Set("Cache-Control", "no-cache")
	resp.Header.Set("Content-Length", strconv.Itoa(len(all)))
	return nil
}
