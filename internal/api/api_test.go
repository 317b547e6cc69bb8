package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keyway/internal/keyway"
	"keyway/internal/pipe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode is a node whose guests are functions of the test.
type fakeNode struct {
	Node // nil: a call the test does not expect fails loudly
	dial func(ctx context.Context, name keyway.Name) (net.Conn, error)
	make func(ctx context.Context, s keyway.Spec, report func(keyway.Progress)) (keyway.Workspace, error)
	list func() (Listing, error)
}

func (f fakeNode) Dial(ctx context.Context, name keyway.Name) (net.Conn, error) {
	return f.dial(ctx, name)
}

func (f fakeNode) Create(ctx context.Context, s keyway.Spec, report func(keyway.Progress)) (keyway.Workspace, error) {
	return f.make(ctx, s, report)
}

func (f fakeNode) List(context.Context) (Listing, error) { return f.list() }

func (f fakeNode) Stop(ctx context.Context, name keyway.Name, _ time.Duration) error {
	return keyway.Errorf(keyway.NotFound, "no %s", name).Hint("try another")
}

// serve joins a client and n by a real socket.
func serve(t *testing.T, n Node) *Client { return serveHandler(t, NewHandler(n)) }

func serveHandler(t *testing.T, h http.Handler) *Client {
	return serveAny(t, versioned(Spoken, h))
}

func serveAny(t *testing.T, h http.Handler) *Client {
	t.Helper()
	ours, theirs := socketPair(t)
	var served sync.WaitGroup
	served.Go(func() {
		if err := serveConn(context.Background(), theirs, h); err != nil {
			t.Errorf("ServeConn: %v", err)
		}
	})
	down := make(chan struct{})
	cc, err := Connect(context.Background(), ours, whenEnded(func() { close(down) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cc.Close()
		served.Wait()
		<-down
	})
	return NewClient(cc, "http://node")
}

func socketPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("unix", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestErrorsKeepTheirWords(t *testing.T) {
	c := serve(t, fakeNode{})
	err := c.Stop(context.Background(), "x", time.Second)
	var e *keyway.Error
	if !errors.As(err, &e) || e.Kind != keyway.NotFound || e.Message != "no x" || e.Next != "try another" {
		t.Fatalf("got %#v", err)
	}
	if err := c.Do(context.Background(), "GET", "/v2/what", nil, nil); !keyway.Is(err, keyway.VersionMismatch) {
		t.Errorf("an unknown path: %v", err)
	}
	if err := c.Stop(context.Background(), "Not/A Name", time.Second); !keyway.Is(err, keyway.Usage) {
		t.Errorf("a bad name: %v", err)
	}
}

func spec(name keyway.Name) keyway.Spec {
	return keyway.Spec{Name: name, Access: keyway.Access{AuthorizedKeys: []string{"ssh-ed25519 AAAA x"}}}
}

func TestCreateStreamsProgress(t *testing.T) {
	c := serve(t, fakeNode{make: func(_ context.Context, s keyway.Spec, report func(keyway.Progress)) (keyway.Workspace, error) {
		report(keyway.Progress{Message: "pulling", Done: 1, Total: 2})
		report(keyway.Progress{Message: "pulling", Done: 2, Total: 2})
		return keyway.Workspace{Name: s.Name, State: keyway.Running}, nil
	}})
	var seen []keyway.Progress
	w, err := c.Create(context.Background(), spec("train"), func(p keyway.Progress) { seen = append(seen, p) })
	if err != nil || w.Name != "train" || w.State != keyway.Running || len(seen) != 2 || seen[1].Done != 2 {
		t.Fatalf("got %+v, %v after %+v", w, err, seen)
	}
	if _, err := c.Create(context.Background(), keyway.Spec{Name: "x"}, nil); !keyway.Is(err, keyway.NoKey) {
		t.Errorf("a spec without keys: %v", err)
	}
}

func TestCancelReachesTheNode(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	c := serve(t, fakeNode{make: func(ctx context.Context, _ keyway.Spec, report func(keyway.Progress)) (keyway.Workspace, error) {
		close(begun)
		<-ctx.Done()
		close(ended)
		return keyway.Workspace{}, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-begun
		cancel()
	}()
	if _, err := c.Create(ctx, spec("x"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-ended
}

// echo returns a guest that sends its input back, and ends with it.
func echo(context.Context, keyway.Name) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		io.Copy(theirs, theirs)
		theirs.Close()
	}()
	return halfPipe{ours}, nil
}

// halfPipe closes a net.Pipe at CloseWrite, after which an echo sends nothing.
type halfPipe struct{ net.Conn }

func (h halfPipe) CloseWrite() error { return h.Close() }

func TestStreamCarriesBytes(t *testing.T) {
	c := serve(t, fakeNode{dial: func(ctx context.Context, name keyway.Name) (net.Conn, error) {
		guest, far := socketPair(t)
		go func() {
			io.Copy(far, far)
			far.(*net.UnixConn).CloseWrite()
			far.Close()
		}()
		return guest, nil
	}})
	conn, err := c.Dial(context.Background(), "train")
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	go func() {
		conn.Write(sent)
		pipe.CloseWrite(conn)
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d of %d bytes came back: %v", len(got), len(sent), err)
	}
	conn.Close()
}

func TestDialErrorComesWithTheFirstRead(t *testing.T) {
	c := serve(t, fakeNode{dial: func(context.Context, keyway.Name) (net.Conn, error) {
		return nil, keyway.Errorf(keyway.NotRunning, "it sleeps")
	}})
	conn, err := c.Dial(context.Background(), "train")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("SSH-2.0-test\r\n"))
	if _, err := conn.Read(make([]byte, 1)); !keyway.Is(err, keyway.NotRunning) {
		t.Fatalf("got %v", err)
	}
}

// TestWriterLearnsWhyItWasRefused checks that a writer gets the reason of a refusal that arrives in
// pieces. HTTP accepts no more of the request after the first piece.
func TestWriterLearnsWhyItWasRefused(t *testing.T) {
	begun := make(chan struct{})
	c := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(errorStatus)
		http.NewResponseController(w).Flush()
		<-begun
		time.Sleep(20 * time.Millisecond) // in which the client has the status and no reason
		io.WriteString(w, `{"error":{"kind":"not-running","message":"it sleeps"}}`)
	}))
	conn, err := c.Dial(context.Background(), "train")
	if err != nil {
		t.Fatal(err)
	}
	close(begun) // not after a write: the first one may find the status, and wait for the reason
	for err == nil {
		_, err = conn.Write([]byte("SSH-2.0-test\r\n"))
	}
	conn.Close()
	_, read := conn.Read(make([]byte, 1))
	for what, err := range map[string]error{"Write": err, "Read": read} {
		if !keyway.Is(err, keyway.NotRunning) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestStalledStreams checks that streams whose reader is slow stop neither the others nor the API,
// though all of them share one connection.
func TestStalledStreams(t *testing.T) {
	zeros := func(ctx context.Context, name keyway.Name) (net.Conn, error) {
		if name == "echo" {
			return echo(ctx, name)
		}
		ours, theirs := net.Pipe()
		go func() {
			for {
				if _, err := theirs.Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		}()
		go io.Copy(io.Discard, theirs)
		return ours, nil
	}
	c := serve(t, fakeNode{dial: zeros, list: func() (Listing, error) { return Listing{}, nil }})
	for range 40 {
		stalled, err := c.Dial(context.Background(), "zeros")
		if err != nil {
			t.Fatal(err)
		}
		defer stalled.Close()
		if _, err := io.ReadFull(stalled, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := c.List(ctx); err != nil {
		t.Fatalf("the API waits for stalled streams: %v", err)
	}
	conn, err := c.Dial(ctx, "echo")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	want := strings.Repeat("x", 1<<20)
	go io.WriteString(conn, want)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("a stream waits for stalled ones: %v", err)
	}
}

func TestLostConnectionEndsEverything(t *testing.T) {
	ours, theirs := socketPair(t)
	cancelled := make(chan struct{})
	n := fakeNode{make: func(ctx context.Context, _ keyway.Spec, _ func(keyway.Progress)) (keyway.Workspace, error) {
		theirs.Close() // as when ssh is killed
		<-ctx.Done()
		close(cancelled)
		return keyway.Workspace{}, ctx.Err()
	}}
	served, down := make(chan struct{}), make(chan struct{})
	go func() {
		ServeConn(context.Background(), theirs, NewHandler(n))
		close(served)
	}()
	cc, err := Connect(context.Background(), ours, whenEnded(func() { close(down) }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient(cc, "http://node").Create(context.Background(), spec("x"), nil); !keyway.Is(err, keyway.Unreachable) || !saysWhatCame(err) {
		t.Errorf("got %v", err)
	}
	<-cancelled
	<-served
	<-down
	cc.Close()
}

// saysWhatCame reports whether an error names the command that shows whether the workspace x was
// made.
func saysWhatCame(err error) bool {
	advice := keyway.AsError(err).Advice
	return len(advice) == 1 && advice[0].Step == keyway.SeeWhatCame && slices.Equal(advice[0].About, []string{"x"})
}

// TestANodeIsLostWhileItMakesAWorkspace checks the error of a node that is killed while it makes a
// workspace, before or after its first report. The error has a next step, also when the link passes
// it on. An error that the node itself reports has no such advice.
func TestANodeIsLostWhileItMakesAWorkspace(t *testing.T) {
	for what, c := range map[string]struct {
		answer string
		came   bool
	}{
		"after its news":        {`{"progress":{"message":"using docker"}}` + "\n", true},
		"in the middle of them": {`{"progress":{"mess`, true},
		"an error of its own":   {`{"error":{"kind":"unreachable","message":"the registry"}}` + "\n", false},
	} {
		node := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, c.answer)
		}))
		_, err := node.Create(t.Context(), spec("x"), func(keyway.Progress) {})
		_, passed := serve(t, fakeNode{make: node.Create}).Create(t.Context(), spec("x"), func(keyway.Progress) {})
		for _, err := range []error{err, passed} {
			if !keyway.Is(err, keyway.Unreachable) || saysWhatCame(err) != c.came {
				t.Errorf("%s: %v, %v", what, err, keyway.AsError(err).Advice)
			}
		}
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add([]byte(`{"progress":{"message":"x"}}` + "\n" + `{"done":true}` + "\n"))
	f.Add([]byte(`{"error":{"kind":"other","message":"m"}}` + "\n"))
	f.Add([]byte("\n\n"))
	f.Add(bytes.Repeat([]byte("x"), maxEvent+2))
	f.Fuzz(func(t *testing.T, data []byte) {
		last, err := ReadEvents(bytes.NewReader(data), func(e Event) {
			if e.Error != nil || e.Workspace != nil || e.Done {
				t.Errorf("%+v is a last event", e)
			}
		})
		if err == nil && last.Workspace == nil && !last.Done {
			t.Errorf("%+v is no last event", last)
		}
	})
}

// whenEnded calls down once the connection has ended.
func whenEnded(down func()) func(*http.ClientConn) {
	down = sync.OnceFunc(down)
	return func(cc *http.ClientConn) {
		if cc.Err() != nil {
			down()
		}
	}
}

// TestTextsAreNotChangedOnTheWay checks that texts that JSON would change are refused before
// anything is sent, and also by the other end, since another program may have sent them.
func TestTextsAreNotChangedOnTheWay(t *testing.T) {
	var sent int
	rt := roundTripper(func(*http.Request) (*http.Response, error) { sent++; return nil, errors.New("sent") })
	c := NewClient(rt, "http://node")
	if _, err := c.Facts(t.Context(), keyway.Spec{Files: keyway.Files{Workdir: "/w\xff"}}); !keyway.Is(err, keyway.Usage) || sent > 0 {
		t.Errorf("%d requests: %v", sent, err)
	}
	var s keyway.Spec
	if err := ReadJSON(strings.NewReader("{\"workdir\":\"/w\xff\"}"), 100, &s); err == nil {
		t.Errorf("read as %q", s.Workdir)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestAnErrorInMidCommandKeepsItsKind checks that the reason for which a connection ended in the
// middle of a command becomes the command's error, with its kind and advice, however the transport
// wraps it. Without such a reason, the error is a broken connection.
func TestAnErrorInMidCommandKeepsItsKind(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind keyway.Kind
		next string
	}{
		{keyway.Errorf(keyway.NoKey, "the agent is locked").Hint("unlock it"), keyway.NoKey, "unlock it"},
		{fmt.Errorf("http2: %w", keyway.Errorf(keyway.HostKeyChanged, "another key").Hint("ask")), keyway.HostKeyChanged, "ask"},
		{&url.Error{Op: "Get", URL: "x", Err: keyway.Errorf(keyway.Unreachable, "gpu1 does not answer").Hint("wait")}, keyway.Unreachable, "wait"},
		{io.ErrUnexpectedEOF, keyway.Unreachable, ""},
	} {
		client := NewClient(roundTripper(func(*http.Request) (*http.Response, error) { return nil, c.err }), "http://node").At("gpu1").For("gpu1")
		for call, do := range map[string]func() error{
			"List":   func() error { _, err := client.List(t.Context()); return err },
			"Info":   func() error { _, err := client.Info(t.Context()); return err },
			"Stop":   func() error { return client.Stop(t.Context(), "train", 0) },
			"Remove": func() error { return client.Remove(t.Context(), "train") },
			"Events": func() error {
				_, err := client.Events(t.Context(), http.MethodPut, "/x", nil, func(Event) {})
				return err
			},
			"Dial": func() error {
				conn, err := client.Dial(t.Context(), "train")
				if err == nil {
					_, err = conn.Read(make([]byte, 1))
					conn.Close()
				}
				return err
			},
		} {
			e := keyway.AsError(do())
			if e == nil || e.Kind != c.kind || e.Next != c.next || e.Host != "" {
				t.Errorf("%s, %v: %+v", call, c.err, e)
			}
		}
	}
}
