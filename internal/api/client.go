package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"keyway/internal/keyway"
)

// Client is a Node at the other end of an HTTP connection.
type Client struct {
	rt   http.RoundTripper
	base string // URL before /v1/…, without a slash at its end
	host keyway.Place
	// place is the place of the other end: its advice is about workspaces there.
	place keyway.Place
	// version is the version that both ends have agreed on; 0 means 1.
	version int
}

var _ Node = (*Client)(nil)

// NewClient returns the Node that NewHandler serves at base. Requests go through rt.
func NewClient(rt http.RoundTripper, base string) *Client {
	return &Client{rt: rt, base: base}
}

// At returns c with the other end's errors marked as the words of host.
func (c *Client) At(host keyway.Place) *Client {
	with := *c
	with.host = host
	return &with
}

// For returns c for the node of a place.
func (c *Client) For(place keyway.Place) *Client {
	with := *c
	with.place = place
	return &with
}

const (
	// maxText bounds the bytes that are kept of each text in an answer.
	maxText = 4 << 10
	// maxEngines bounds the engines of a place.
	maxEngines = 16
)

// said marks e as the other end's words.
func (c *Client) said(e *keyway.Error) *keyway.Error {
	if e == nil || c.host == "" && c.place == "" {
		return e
	}
	marked := *e
	if marked.At = c.place; c.host == "" {
		return &marked
	}
	marked.Host = c.host
	clip(reflect.ValueOf(&marked).Elem())
	return &marked
}

// clip truncates every text in v to at most maxText bytes.
func clip(v reflect.Value) {
	if !v.CanSet() { // an unexported field
		return
	}
	switch v.Kind() {
	case reflect.String:
		if text := v.String(); len(text) > maxText {
			v.SetString(strings.ToValidUTF8(text[:maxText], "?") + "…")
		}
	case reflect.Pointer:
		if !v.IsNil() {
			clip(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			clip(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			clip(v.Field(i))
		}
	}
}

// Info implements Node.
func (c *Client) Info(ctx context.Context) (info Info, err error) {
	err = c.Do(ctx, "GET", "/v1/node", nil, &info)
	info.Engines = info.Engines[:min(len(info.Engines), maxEngines)]
	for i := range info.Engines {
		info.Engines[i].Why = c.said(info.Engines[i].Why)
	}
	return info, err
}

// List implements Node.
func (c *Client) List(ctx context.Context) (list Listing, err error) {
	err = c.Do(ctx, "GET", "/v1/workspaces", nil, &list)
	list.Problems = slices.DeleteFunc(list.Problems, func(e *keyway.Error) bool { return e == nil })
	for i := range list.Problems {
		list.Problems[i] = c.said(list.Problems[i])
	}
	return list, err
}

// GPUs implements Node.
func (c *Client) GPUs(ctx context.Context) (report keyway.GPUReport, err error) {
	err = c.Do(ctx, "GET", "/v1/gpus", nil, &report)
	return report, err
}

// maxTemplates bounds the templates of a place.
const maxTemplates = 128

// Templates implements Node.
func (c *Client) Templates(ctx context.Context) (files [][]byte, err error) {
	err = c.Do(ctx, "GET", "/v1/templates", nil, &files)
	if len(files) > maxTemplates {
		return nil, keyway.Errorf(keyway.VersionMismatch, "the answer has %d templates, and %d are possible", len(files), maxTemplates)
	}
	return files, err
}

// Environments implements Node.
func (c *Client) Environments(ctx context.Context, names []keyway.Name) ([]keyway.Environment, error) {
	var all []keyway.Environment
	if err := c.Do(ctx, "POST", "/v1/environments", names, &all); err != nil {
		return nil, err
	}
	if len(all) != len(names) {
		return nil, keyway.Errorf(keyway.VersionMismatch, "the answer has %d workspaces, and %d were requested", len(all), len(names))
	}
	for i := range all {
		all[i].Name = names[i] // whatever name the place sends
		all[i].Error = c.said(all[i].Error)
		all[i].Bound()
	}
	return all, nil
}

// Stop implements Node.
func (c *Client) Stop(ctx context.Context, name keyway.Name, grace time.Duration) error {
	return c.Do(ctx, "POST", workspacePath(name)+"/stop?grace="+strconv.FormatInt(grace.Milliseconds(), 10), nil, nil)
}

// StopFirst is Stop for a workspace that is removed then. The link says so on its connections.
func (c *Client) StopFirst(ctx context.Context, name keyway.Name, grace time.Duration) error {
	return c.Do(ctx, "POST", workspacePath(name)+"/stop?removing=true&grace="+strconv.FormatInt(grace.Milliseconds(), 10), nil, nil)
}

// Start implements Node.
func (c *Client) Start(ctx context.Context, name keyway.Name) error {
	return c.Do(ctx, "POST", workspacePath(name)+"/start", nil, nil)
}

// Remove implements Node.
func (c *Client) Remove(ctx context.Context, name keyway.Name) error {
	return c.Do(ctx, "DELETE", workspacePath(name), nil, nil)
}

// Purge implements Node.
func (c *Client) Purge(ctx context.Context, name keyway.Name) error {
	return c.Do(ctx, "DELETE", workspacePath(name)+"?volumes=true", nil, nil)
}

// Undo implements Node. An older node removes no volume.
func (c *Client) Undo(ctx context.Context, name keyway.Name) error {
	return c.Do(ctx, "DELETE", workspacePath(name)+"?volumes=new", nil, nil)
}

// Facts implements Node.
func (c *Client) Facts(ctx context.Context, s keyway.Spec) (f keyway.Facts, err error) {
	s.Secrets = nil
	err = c.Do(ctx, "POST", "/v1/facts", s, &f)
	f.NoGuest, f.Refused, f.Engine.Why = c.said(f.NoGuest), c.said(f.Refused), c.said(f.Engine.Why)
	return f.Plain(), err
}

// Admit implements Node.
func (c *Client) Admit(ctx context.Context, name keyway.Name, keys []keyway.EntryKey) error {
	return c.Do(ctx, "POST", workspacePath(name)+"/keys", keys, nil)
}

// WaitIdle implements Node.
func (c *Client) WaitIdle(ctx context.Context, name keyway.Name) error {
	return c.Do(ctx, "POST", workspacePath(name)+"/settle", nil, nil)
}

// Ping makes one round trip to the node.
func (c *Client) Ping(ctx context.Context) error {
	return c.Do(ctx, "GET", "/v1/ping", nil, nil)
}

// Create implements Node.
func (c *Client) Create(ctx context.Context, s keyway.Spec, report func(keyway.Progress)) (keyway.Workspace, error) {
	return c.made(ctx, "PUT", workspacePath(s.Name), s.Name, s, report)
}

// made sends a request that makes a workspace with that name.
func (c *Client) made(ctx context.Context, method, path string, name keyway.Name, body any, report func(keyway.Progress)) (keyway.Workspace, error) {
	last, err := c.Events(ctx, method, path, body, func(e Event) {
		if e.Progress != nil {
			report(*e.Progress)
		}
	})
	if Cut(err) {
		return keyway.Workspace{}, keyway.AsError(err).Advise(keyway.SeeWhatCame, string(name))
	}
	if err != nil {
		return keyway.Workspace{}, err
	}
	if last.Workspace == nil {
		return keyway.Workspace{}, keyway.Errorf(keyway.VersionMismatch, "the answer holds no workspace")
	}
	return *last.Workspace, nil
}

func workspacePath(name keyway.Name) string {
	return "/v1/workspaces/" + url.PathEscape(string(name))
}

// maxAnswer bounds the bytes of an answer: a listing of thousands of workspaces.
const maxAnswer = 16 << 20

// Do sends body, if not nil, and decodes the answer into v, if not nil.
func (c *Client) Do(ctx context.Context, method, path string, body, v any) error {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if v == nil {
		_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
		return err
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(v); err != nil {
		if said := (*keyway.Error)(nil); errors.As(err, &said) { // why there is no more of it
			return said
		}
		return keyway.Errorf(keyway.Other, "the answer cannot be read: %w", err)
	}
	if c.host != "" {
		clip(reflect.ValueOf(v).Elem())
	}
	return nil
}

// Events sends body and calls each with every event of the answer. It returns the last one.
func (c *Client) Events(ctx context.Context, method, path string, body any, each func(Event)) (Event, error) {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return Event{}, err
	}
	defer resp.Body.Close()
	e, err := ReadEvents(resp.Body, each)
	if c.host != "" {
		clip(reflect.ValueOf(&e).Elem())
	}
	switch {
	case err == nil:
		return e, nil
	case ctx.Err() != nil:
		err = ctx.Err()
	case e.Error != nil:
		err = c.said(e.Error)
	}
	return e, err
}

func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		if err := keyway.CheckTexts(body); err != nil {
			return nil, err
		}
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, r)
	if err != nil {
		return nil, err
	}
	return c.roundTrip(req)
}

// roundTrip returns a successful answer, or an error for the user.
func (c *Client) roundTrip(req *http.Request) (*http.Response, error) {
	if c.version > 1 {
		req.Header.Set(versionHeader, strconv.Itoa(c.version))
	}
	resp, err := c.rt.RoundTrip(req)
	if err != nil {
		if ctxErr := req.Context().Err(); ctxErr != nil {
			return nil, ctxErr
		}
		if said := (*keyway.Error)(nil); errors.As(err, &said) { // why there is no connection
			return nil, said
		}
		return nil, keyway.Errorf(keyway.Unreachable, "the connection broke: %w", cutError{err})
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, c.said(keyway.AsError(ReadError(resp)))
	}
	return resp, nil
}

// Dial implements Node. The connection ends when ctx does.
func (c *Client) Dial(ctx context.Context, name keyway.Name) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	up, out := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+workspacePath(name)+"/stream", up)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &streamConn{out: out, cancel: cancel, answered: make(chan struct{})}
	go func() { // ends with the answer, or with ctx, which Close cancels
		defer close(s.answered)
		s.resp, s.err = c.roundTrip(req)
		if s.err != nil {
			up.CloseWithError(s.err) // no end will read the written bytes
		}
	}()
	return s, nil
}

// streamConn is a request whose body and answer flow at the same time.
type streamConn struct {
	out      *io.PipeWriter
	cancel   context.CancelFunc
	answered chan struct{} // closed when resp or err is set
	resp     *http.Response
	err      error

	closing sync.Once
}

func (s *streamConn) Read(p []byte) (int, error) {
	<-s.answered
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.resp.Body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) {
		err = keyway.Errorf(keyway.Unreachable, "the connection broke: %w", err)
	}
	return n, err
}

// Write fails with the reason for a refusal, but only once that is known: HTTP reads no more of the
// request after the first byte of the refusal. A caller that closed the connection at once would
// never receive the rest of the refusal.
func (s *streamConn) Write(p []byte) (int, error) {
	n, err := s.out.Write(p)
	if errors.Is(err, io.ErrClosedPipe) {
		<-s.answered
		if s.err != nil {
			err = s.err
		}
	}
	return n, err
}

func (s *streamConn) CloseWrite() error { return s.out.Close() }

func (s *streamConn) Close() error {
	s.closing.Do(func() {
		s.cancel()
		s.out.CloseWithError(net.ErrClosed)
		<-s.answered
		if s.resp != nil {
			s.resp.Body.Close()
		}
	})
	return nil
}

// streamAddr is the address of both ends of a streamConn, which have none.
type streamAddr struct{}

func (streamAddr) Network() string { return "keyway" }
func (streamAddr) String() string  { return "guest" }

func (s *streamConn) LocalAddr() net.Addr  { return streamAddr{} }
func (s *streamConn) RemoteAddr() net.Addr { return streamAddr{} }

// A stream has no deadlines of its own: its context ends it.
func (s *streamConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (s *streamConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (s *streamConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }
