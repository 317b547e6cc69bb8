package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"keyway/internal/keyway"
	"keyway/internal/pipe"
)

// maxSpec bounds the bytes of a PUT's body: many times 256 keys, mounts and a command line.
const maxSpec = 4 << 20

// NewHandler serves n under /v1/. Streams need HTTP/2, where a request and its answer flow at the
// same time.
func NewHandler(n Node) http.Handler {
	h := handler{n}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/ping", func(w http.ResponseWriter, r *http.Request) { WriteJSON(w, struct{}{}) })
	mux.HandleFunc("GET /v1/node", h.info)
	mux.HandleFunc("GET /v1/workspaces", h.list)
	mux.HandleFunc("GET /v1/gpus", h.gpus)
	mux.HandleFunc("GET /v1/templates", h.templates)
	mux.HandleFunc("POST /v1/facts", h.facts)
	mux.HandleFunc("POST /v1/images/layers", h.imageLayers)
	mux.HandleFunc("POST /v1/images/have", h.haveLayers)
	mux.HandleFunc("POST /v1/images/export", h.exportImage)
	mux.HandleFunc("POST /v1/images/import", h.importImage)
	mux.HandleFunc("POST /v1/images/pull", h.pullImage)
	mux.HandleFunc("POST /v1/environments", h.environments)
	mux.HandleFunc("GET /v1/containers", h.containers)
	mux.HandleFunc("PUT /v1/workspaces/{name}", h.create)
	mux.HandleFunc("POST /v1/workspaces/{name}/adopt", h.adopt)
	mux.HandleFunc("POST /v1/workspaces/{name}/stop", h.stop)
	mux.HandleFunc("POST /v1/workspaces/{name}/start", h.act(n.Start))
	mux.HandleFunc("POST /v1/workspaces/{name}/keys", h.admit)
	mux.HandleFunc("POST /v1/workspaces/{name}/settle", h.act(n.WaitIdle))
	mux.HandleFunc("DELETE /v1/workspaces/{name}", h.remove)
	mux.HandleFunc("POST /v1/workspaces/{name}/stream", h.stream)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		WriteError(w, keyway.Errorf(keyway.VersionMismatch, "this version does not know %s %s", r.Method, r.URL.Path))
	})
	return mux
}

// questions are the routes by POST that only ask. Their requests have a body, which a GET has not.
var questions = []string{"/v1/facts", "/v1/environments", "/v1/images/layers", "/v1/images/have"}

// IsQuestion reports whether a request only asks: it changes nothing at the place, which answers it
// without waiting for anything. The path may lead through a link.
func IsQuestion(method, path string) bool {
	return method == http.MethodGet || method == http.MethodPost &&
		slices.ContainsFunc(questions, func(q string) bool { return strings.HasSuffix(path, q) })
}

type handler struct{ node Node }

func (h handler) info(w http.ResponseWriter, r *http.Request) {
	info, err := h.node.Info(r.Context())
	answer(w, info, err)
}

func (h handler) list(w http.ResponseWriter, r *http.Request) {
	list, err := h.node.List(r.Context())
	answer(w, list, err)
}

func (h handler) gpus(w http.ResponseWriter, r *http.Request) {
	report, err := h.node.GPUs(r.Context())
	answer(w, report, err)
}

func (h handler) templates(w http.ResponseWriter, r *http.Request) {
	files, err := h.node.Templates(r.Context())
	answer(w, files, err)
}

func (h handler) create(w http.ResponseWriter, r *http.Request) {
	var s keyway.Spec
	if err := ReadJSON(r.Body, maxSpec, &s); err != nil {
		WriteError(w, err)
		return
	}
	if string(s.Name) != r.PathValue("name") {
		WriteError(w, keyway.Errorf(keyway.Usage, "the path names workspace %q, the body %q", r.PathValue("name"), s.Name))
		return
	}
	if err := s.Validate(); err != nil {
		WriteError(w, err)
		return
	}
	tellMade(w, func(report func(keyway.Progress)) (keyway.Workspace, error) {
		return h.node.Create(r.Context(), s, report)
	})
}

// tellMade answers with the events of a function that makes a workspace.
func tellMade(w http.ResponseWriter, makes func(report func(keyway.Progress)) (keyway.Workspace, error)) {
	events := NewEventWriter(w)
	made, err := makes(func(p keyway.Progress) { events.Send(Event{Progress: &p}) })
	if err != nil {
		events.Send(Event{Error: keyway.AsTold(err)})
		return
	}
	events.Send(Event{Workspace: &made})
}

// stop stops a workspace. The query's grace is the time in milliseconds that its programs have to
// end by themselves.
func (h handler) stop(w http.ResponseWriter, r *http.Request) {
	grace := keyway.DefaultGrace
	if text := r.URL.Query().Get("grace"); text != "" {
		ms, err := strconv.ParseUint(text, 10, 32)
		if grace = time.Duration(ms) * time.Millisecond; err != nil || grace > keyway.MaxGrace {
			WriteError(w, keyway.Errorf(keyway.Usage, "a grace of %q ms is not between 0 and %v", text, keyway.MaxGrace))
			return
		}
	}
	h.act(func(ctx context.Context, name keyway.Name) error { return h.node.Stop(ctx, name, grace) })(w, r)
}

func (h handler) facts(w http.ResponseWriter, r *http.Request) {
	var s keyway.Spec
	if err := ReadJSON(r.Body, maxSpec, &s); err != nil {
		WriteError(w, err)
		return
	}
	f, err := h.node.Facts(r.Context(), s)
	answer(w, f, err)
}

// environments answers for the workspaces in the body.
func (h handler) environments(w http.ResponseWriter, r *http.Request) {
	var names []keyway.Name
	err := ReadJSON(r.Body, maxSpec, &names)
	if err == nil && len(names) > keyway.MaxEnvironments {
		err = keyway.Errorf(keyway.Usage, "%d workspaces are asked for at once, and %d are possible", len(names), keyway.MaxEnvironments)
	}
	for _, name := range names {
		if err == nil {
			_, err = keyway.ParseName(string(name))
		}
	}
	if err != nil {
		WriteError(w, err)
		return
	}
	all, err := h.node.Environments(r.Context(), names)
	answer(w, all, err)
}

// remove removes a workspace, with all of its volumes or those that were made with it if the query
// says so.
func (h handler) remove(w http.ResponseWriter, r *http.Request) {
	act := h.node.Remove
	switch r.URL.Query().Get("volumes") {
	case "true":
		act = h.node.Purge
	case "new":
		act = h.node.Undo
	}
	h.act(act)(w, r)
}

// admit lets the keys in the body enter a workspace.
func (h handler) admit(w http.ResponseWriter, r *http.Request) {
	var keys []keyway.EntryKey
	err := ReadJSON(r.Body, maxSpec, &keys)
	if err == nil {
		err = keyway.ValidateKeys(keys)
	}
	if err != nil {
		WriteError(w, err)
		return
	}
	h.act(func(ctx context.Context, name keyway.Name) error { return h.node.Admit(ctx, name, keys) })(w, r)
}

func (h handler) act(do func(context.Context, keyway.Name) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name, err := keyway.ParseName(r.PathValue("name"))
		if err == nil {
			err = do(r.Context(), name)
		}
		answer(w, struct{}{}, err)
	}
}

// stream connects the request and its answer to a workspace's guest. The end of the guest's output
// ends the stream; the end of the client's output closes only that direction.
func (h handler) stream(w http.ResponseWriter, r *http.Request) {
	name, err := keyway.ParseName(r.PathValue("name"))
	if err != nil {
		WriteError(w, err)
		return
	}
	guest, err := h.node.Dial(r.Context(), name)
	if err != nil {
		WriteError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	// The header is sent with the guest's first bytes: no client waits for it alone, and a small
	// packet can delay the next one by 40 ms (see askDelay in internal/link).
	Relay(guest, r.Body, flushWriter{w, http.NewResponseController(w)})
}

// flushWriter sends each piece at once: an SSH packet must not wait for the next.
type flushWriter struct {
	io.Writer
	flush *http.ResponseController
}

func (f flushWriter) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err == nil {
		err = f.flush.Flush()
	}
	return n, err
}

// copySize is the size of a piece of a relayed stream, in bytes, and the largest HTTP/2 frame. For
// each piece that a reader takes, a packet opens the window at the other end, and every hop
// encrypts that packet. Larger pieces hardly reduce their number.
const copySize = 128 << 10

var buffers = pipe.Buffers{Size: copySize}

// Relay connects a workspace's guest to in and out, a request's body and its answer: see
// pipe.Buffers.Carry.
func Relay(guest io.ReadWriteCloser, in io.ReadCloser, out io.Writer) { buffers.Carry(guest, in, out) }

// ReadJSON decodes one JSON value of at most limit bytes into v. Unknown fields are an error: they
// would be requested and not obeyed. So are bytes that are not UTF-8, which a decoder replaces.
func ReadJSON(r io.Reader, limit int64, v any) error {
	data, err := io.ReadAll(io.LimitReader(r, limit))
	if err == nil && !utf8.Valid(data) {
		err = errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err = cmp.Or(err, d.Decode(v)); err != nil {
		return keyway.Errorf(keyway.VersionMismatch, "the request cannot be read: %w", err)
	}
	return nil
}

// answer writes v, or err if it is not nil.
func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		WriteError(w, err)
		return
	}
	WriteJSON(w, v)
}

// WriteJSON answers with v.
func WriteJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// errorStatus is the status of every refusal; the Kind in the body says which it is. HTTP's own
// codes would be a second, less precise language.
const errorStatus = http.StatusUnprocessableEntity

// WriteError answers with err as JSON.
func WriteError(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(errorStatus)
	json.NewEncoder(w).Encode(Event{Error: keyway.AsTold(err)})
}

// maxError bounds the bytes of an error in an answer.
const maxError = 256 << 10

// ReadError returns the error in an unsuccessful answer.
func ReadError(resp *http.Response) error {
	var e Event
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxError))
	if t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && t == "application/json" {
		err = json.Unmarshal(data, &e)
	}
	if err != nil || e.Error == nil {
		return keyway.Errorf(keyway.Other, "the other end answered %s", resp.Status)
	}
	return e.Error
}

// EventWriter streams events and sends each at once. Several goroutines may use it.
type EventWriter struct {
	mu    sync.Mutex
	w     io.Writer
	begun bool
	rw    http.ResponseWriter
}

// NewEventWriter answers on w with a stream of events.
func NewEventWriter(w http.ResponseWriter) *EventWriter {
	return &EventWriter{rw: w, w: flushWriter{w, http.NewResponseController(w)}}
}

// Send sends e. Its error only means that the reader has gone.
func (e *EventWriter) Send(ev Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.begun {
		e.begun = true
		e.rw.Header().Set("Content-Type", "application/x-ndjson")
	}
	line, err := json.Marshal(ev)
	if err != nil {
		return err
	}
	_, err = e.w.Write(append(line, '\n'))
	return err
}

// maxEvent bounds the bytes of one event.
const maxEvent = 1 << 20

// cutError is the error for a missing or incomplete answer: the other side was killed, or the
// connection was cut. The request may have been carried out, in part or completely.
type cutError struct{ error }

func (c cutError) Unwrap() error { return c.error }

// Cut reports whether err is the lack of an answer, or of its end.
func Cut(err error) bool { return errors.As(err, new(cutError)) }

// ReadEvents calls each with the events in body, and returns the last one. An answer that breaks
// off is an error.
func ReadEvents(body io.Reader, each func(Event)) (Event, error) {
	lines := newLineReader(body, maxEvent)
	for {
		line, err := lines.next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return Event{}, keyway.Errorf(keyway.Unreachable, "the answer broke off: %w", cutError{err})
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return Event{}, keyway.Errorf(keyway.VersionMismatch, "the answer cannot be read: %w", err)
		}
		switch {
		case e.Error != nil:
			return e, e.Error
		case e.Workspace != nil || e.Done:
			return e, nil
		default:
			each(e)
		}
	}
}
