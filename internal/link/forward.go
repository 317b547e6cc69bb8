package link

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"sync"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// ForwardRequest is the body of POST /v1/places/PLACE/workspaces/NAME/forward.
type ForwardRequest struct {
	Port int `json:"port,omitempty"` // in the workspace, on its localhost
	// Socket is a unix socket in the workspace, instead of a port.
	Socket string            `json:"socket,omitempty"`
	Local  int               `json:"local,omitempty"` // on this machine's 127.0.0.1; 0: chosen, always the same
	Env    map[string]string `json:"env"`             // see ConnectRequest
}

// ForwardState is a line of the answer: the present state of a forward. Local does not change while
// the forward has a user.
type ForwardState struct {
	Local int           `json:"local,omitempty"`
	Up    bool          `json:"up"`
	Why   string        `json:"why,omitempty"`   // why it is not up
	Error *keyway.Error `json:"error,omitempty"` // why it will never be up; the last line
}

// maxForwardRequest bounds the bytes of a request.
const maxForwardRequest = 1 << 20

// forwardKey identifies a forward. Forwards with a local port of the user's choice are separate
// from those with a chosen one.
type forwardKey struct {
	place       keyway.Place
	name        keyway.Name
	port, local int
	socket      string
}

// forward is an ssh -N -L of the user's. It lives as long as it has a user.
type forward struct {
	key  forwardKey
	stop context.CancelFunc
	done chan struct{} // closed when its ssh has ended for good

	mu      sync.Mutex
	users   int
	ending  bool // its last user has left, or it has failed: it accepts no further user
	state   ForwardState
	changed chan struct{} // closed when the state changes
}

// forwards are the present forwards. The zero value has none.
type forwards struct {
	mu  sync.Mutex
	all map[forwardKey]*forward
}

// join returns the forward with that key. If there is none, begin makes it. The caller calls leave.
func (fs *forwards) join(ctx context.Context, key forwardKey, begin func() *forward) (*forward, error) {
	for {
		fs.mu.Lock()
		f := fs.all[key]
		if f == nil {
			f = begin()
			if fs.all == nil {
				fs.all = map[forwardKey]*forward{}
			}
			fs.all[key] = f
		}
		joined := f.enter()
		fs.mu.Unlock()
		if joined {
			return f, nil
		}
		select { // its port is free after that
		case <-f.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// ended removes a forward whose ssh has ended for good.
func (fs *forwards) ended(f *forward) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.all, f.key)
	close(f.done)
}

// fail ends the forwards to a workspace. Their users are told the reason.
func (fs *forwards) fail(place keyway.Place, name keyway.Name, reason *keyway.Error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for key, f := range fs.all {
		if key.place == place && key.name == name {
			f.become(ForwardState{Error: reason})
			f.stop()
		}
	}
}

// status lists the forwards of a place.
func (fs *forwards) status(place keyway.Place) (list []ForwardStatus) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for key, f := range fs.all {
		if key.place == place {
			f.mu.Lock()
			list = append(list, ForwardStatus{Workspace: key.name, Port: key.port, Socket: key.socket, Local: f.state.Local, Up: f.state.Up, Users: f.users})
			f.mu.Unlock()
		}
	}
	slices.SortFunc(list, func(a, b ForwardStatus) int { return a.Local - b.Local })
	return list
}

// ForwardStatus describes one forward.
type ForwardStatus struct {
	Workspace keyway.Name `json:"workspace"`
	Port      int         `json:"port,omitempty"`   // in the workspace
	Socket    string      `json:"socket,omitempty"` // in the workspace, instead of a port
	Local     int         `json:"local"`            // on this machine; 0: not chosen yet
	Up        bool        `json:"up"`
	Users     int         `json:"users"` // commands that keep it open
}

func (f *forward) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ending {
		return false
	}
	f.users++
	return true
}

// leave ends the forward when its last user leaves, and then waits until its port is free.
func (f *forward) leave() {
	f.mu.Lock()
	f.users--
	last := f.users == 0
	f.ending = f.ending || last
	f.mu.Unlock()
	if last {
		f.stop()
		<-f.done
	}
}

func (f *forward) now() (ForwardState, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state, f.changed
}

// become changes the state. A state with an error is the last one.
func (f *forward) become(s ForwardState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state.Error != nil {
		return
	}
	f.ending = f.ending || s.Error != nil
	f.state = s
	close(f.changed)
	f.changed = make(chan struct{})
}

// forward answers a request with the states of a forward, a line of JSON each, and keeps the
// forward until the request's body ends. If it is the last user, the answer ends when the forward
// has ended.
func (l *Link) forward(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	_ = out.EnableFullDuplex() // works with HTTP/1.1, which this is
	f, err := l.joinForward(r)
	if err != nil {
		api.WriteError(w, err)
		return
	}
	defer f.leave()
	left := make(chan struct{})
	go func() { // ends with the request
		defer close(left)
		_, _ = io.Copy(io.Discard, r.Body)
	}()
	w.Header().Set("Content-Type", "application/x-ndjson")
	for lines := json.NewEncoder(w); ; {
		state, changed := f.now()
		if state != (ForwardState{}) && (lines.Encode(state) != nil || out.Flush() != nil || state.Error != nil) {
			return
		}
		select {
		case <-changed:
		case <-left:
			return
		case <-l.ctx.Done():
			return
		}
	}
}

// joinForward reads a request and joins the forward that it describes.
func (l *Link) joinForward(r *http.Request) (*forward, error) {
	var req ForwardRequest
	if err := json.NewDecoder(io.LimitReader(r.Body, maxForwardRequest)).Decode(&req); err != nil {
		return nil, keyway.Errorf(keyway.VersionMismatch, "the request cannot be read: %w", err)
	}
	place, err := keyway.ParsePlace(r.PathValue("place"))
	if err != nil {
		return nil, err
	}
	name, err := keyway.ParseName(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	if req.Socket == "" && req.Port < 1 || req.Port < 0 || req.Port > maxPort || req.Local < 0 || req.Local > maxPort {
		return nil, keyway.Errorf(keyway.Usage, "a port is a number from 1 to %d", maxPort)
	}
	if req.Socket != "" && (req.Port != 0 || len(req.Socket) > maxSocket || !goodSocket.MatchString(req.Socket)) {
		return nil, keyway.Errorf(keyway.Untrusted, "a socket of a workspace is a plain absolute path of at most %d bytes, not %.120q", maxSocket, req.Socket)
	}
	key := forwardKey{place, name, req.Port, req.Local, req.Socket}
	return l.forwards.join(r.Context(), key, func() *forward { return l.beginForward(key, envOf(req.Env)) })
}

// beginForward starts a forward.
func (l *Link) beginForward(key forwardKey, env []string) *forward {
	ctx, cancel := context.WithCancel(l.ctx)
	f := &forward{key: key, stop: cancel, done: make(chan struct{}), changed: make(chan struct{})}
	l.ended.Go(func() {
		defer cancel()
		defer l.forwards.ended(f)
		run := forwardRun{f: f, dir: l.runtime(), env: env, log: l.cfg.Log}
		if err := run.run(ctx); err != nil && ctx.Err() == nil {
			f.become(ForwardState{Error: keyway.AsError(err)})
		}
	})
	return f
}
