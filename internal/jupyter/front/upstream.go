package front

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/wire"
	"keyway/internal/keyway"
)

// maxBody bounds a notebook in bytes.
const maxBody = 256 << 20

// Upstream tells how to reach the Jupyter server.
type Upstream struct {
	// Dial connects to the server, over a unix socket or the loopback.
	Dial func(context.Context) (net.Conn, error)
	// Feed connects for the websocket of a kernel; if it is nil, Dial does. The front calls Hold on
	// the connection after the handshake. An error of Hold is only logged.
	Feed func(ctx context.Context, kernel string) (net.Conn, error)
	Hold func(conn net.Conn, kernel, protocol string) error
	// Left reports whether an earlier program has left the connection that Feed returns. If it is
	// nil, none was left.
	Left  func(kernel string) bool
	Base  string // base_url: begins and ends with a slash
	Token string
}

// host is the server's name in requests. It is no address: Dial decides where to connect.
const host = "localhost"

// StatusError is an answer of the Jupyter server with another status than 2xx.
type StatusError struct {
	Code   int
	Method string
	Path   string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the Jupyter server answers %s %s with %d %s", e.Method, e.Path, e.Code, http.StatusText(e.Code))
}

func (u Upstream) transport() *http.Transport {
	return &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return u.Dial(ctx) },
		DisableCompression: true,
		MaxIdleConns:       8,
		IdleConnTimeout:    time.Minute,
	}
}

// path returns a path of the API below the base, with the name in it escaped.
func (u Upstream) path(api string) string {
	return u.Base + strings.TrimPrefix((&url.URL{Path: api}).EscapedPath(), "/")
}

// ask sends a request to the Jupyter server. An answer with another status than 2xx is an error.
// Otherwise, the caller closes the body of the answer.
func (f *Front) ask(ctx context.Context, method, path, query string, body *spool) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+host+path, nil)
	if err != nil {
		return nil, err
	}
	req.URL.RawQuery = query
	req.Header.Set("Authorization", "token "+f.upstream.Token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		body.send(req)
	}
	resp, err := f.transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("the Jupyter server does not answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, errors.Join(&StatusError{resp.StatusCode, method, path}, resp.Body.Close())
	}
	return resp, nil
}

// do sends a request and decodes the JSON answer into answer, unless that is nil.
func (f *Front) do(ctx context.Context, method, path, query string, answer any) error {
	resp, err := f.ask(ctx, method, path, query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := readBody(resp.Body)
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(data, answer)
}

// maxAnswer bounds the bytes of an answer of the Jupyter server that are read into memory.
const maxAnswer = 16 << 20

func readBody(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err == nil && len(data) > maxAnswer {
		err = fmt.Errorf("more than %d bytes", maxAnswer)
	}
	return data, err
}

// dialKernel opens the websocket of a kernel under a session's name.
func (f *Front) dialKernel(ctx context.Context, id, session string) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{
		NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if f.upstream.Feed == nil {
				return f.upstream.Dial(ctx)
			}
			return f.upstream.Feed(ctx, id)
		},
		Subprotocols:     []string{wire.Subprotocol},
		HandshakeTimeout: 90 * time.Second, // a kernel may take a minute to start
	}
	u := url.URL{Scheme: "ws", Host: host, Path: f.upstream.Base + "api/kernels/" + id + "/channels", RawQuery: url.Values{"session_id": {session}}.Encode()}
	conn, resp, err := d.DialContext(ctx, u.String(), http.Header{"Authorization": {"token " + f.upstream.Token}})
	if err == nil && resp.Header.Get("Sec-Websocket-Extensions") != "" { // none was requested; compressed messages would have no bound
		_ = conn.Close()
		return nil, resp, errors.New("the Jupyter server compresses what nobody asked it to")
	}
	if err != nil && resp == nil {
		err = fmt.Errorf("the Jupyter server does not answer: %w", err)
	}
	if err == nil && f.upstream.Hold != nil {
		if err := f.upstream.Hold(conn.NetConn(), id, conn.Subprotocol()); err != nil {
			f.Logf("kernel %s: a restart of this program will lose what the kernel says meanwhile: %v", id, err)
		}
	}
	return conn, resp, err
}

// session is the Jupyter server's description of a notebook with a kernel.
type session struct {
	Path   string `json:"path"`
	Type   string `json:"type"`
	Kernel struct {
		ID string `json:"id"`
	} `json:"kernel"`
}

func (f *Front) sessions(ctx context.Context) ([]session, error) {
	var all []session
	if err := f.do(ctx, http.MethodGet, f.upstream.path("api/sessions"), "", &all); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	paths := map[string][]string{}
	for _, s := range all {
		if id := s.Kernel.ID; f.kernels[id] != nil && !slices.Contains(paths[id], s.Path) {
			paths[id] = append(paths[id], s.Path)
		}
	}
	for id, now := range paths {
		if slices.Sort(now); !slices.Equal(f.paths[id], now) || f.unnoted[id] {
			f.paths[id] = now
			f.note(id)
		}
	}
	return all, nil
}

// noted returns the path of the file beside a kernel's journal that contains the paths of its
// notebooks. The next start needs it if the kernel ends while this program does not run.
func (f *Front) noted(id string) string { return filepath.Join(f.Dir, id, "notebook") }

// pathEnd separates the paths in that file.
const pathEnd = "\x00"

// note writes that file. It leaves out notebooks that must not be written. After an error, sessions
// tries again. The caller holds mu.
func (f *Front) note(id string) {
	ours := slices.DeleteFunc(slices.Clone(f.paths[id]), func(path string) bool { return f.shared[path] })
	err := keyway.WriteFile(f.noted(id), []byte(strings.Join(ours, pathEnd)), 0o600)
	if err != nil && !f.unnoted[id] {
		f.Logf("kernel %s: the path of its notebook is not kept yet: %v", id, err)
	}
	f.unnoted[id] = err != nil
}

// model is the Jupyter server's description of a kernel.
type model struct {
	ID    string `json:"id"`
	State string `json:"execution_state"`
}

// theirKernels returns the kernels that the Jupyter server has.
func (f *Front) theirKernels(ctx context.Context) (all []model, err error) {
	err = f.do(ctx, http.MethodGet, f.upstream.path("api/kernels"), "", &all)
	return all, err
}

// hasKernel reports whether the Jupyter server has a kernel. An error counts as yes.
func (f *Front) hasKernel(ctx context.Context, id string) bool {
	var status *StatusError
	err := f.do(ctx, http.MethodGet, f.upstream.path("api/kernels/"+id), "", nil)
	return !errors.As(err, &status) || status.Code != http.StatusNotFound
}
