package link

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/stream"
)

// slowly is a node that answers after a time.
type slowly time.Duration

func (d slowly) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case <-time.After(time.Duration(d)):
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("{}"))}, nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

// headOnly begins an answer, and never ends it.
type headOnly struct{}

func (headOnly) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: hangingBody{req.Context()}}, nil
}

type hangingBody struct{ ctx context.Context }

func (b hangingBody) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func (hangingBody) Close() error { return nil }

// TestANodeWhoseHandlerHangs checks requests to a node that answers only pings: each reports that there is no
// answer yet, a question ends by itself, and everything ends with the command.
func TestANodeWhoseHandlerHangs(t *testing.T) {
	ask := func(ctx context.Context, c *api.Client) error { _, err := c.List(ctx); return err }
	do := func(ctx context.Context, c *api.Client) error { return c.Stop(ctx, "train", 0) }
	const never = 24 * time.Hour
	for _, c := range []struct {
		name    string
		call    func(context.Context, *api.Client) error
		answer  time.Duration
		took    time.Duration
		notices int
		kind    keyway.Kind
	}{
		{"a question that is answered", ask, 5 * time.Second, 5 * time.Second, 0, ""},
		{"a question that is answered late", ask, 35 * time.Second, 35 * time.Second, 3, ""},
		{"a question", ask, never, questionLimit, 17, keyway.Unreachable},
		{"an order that is carried out late", do, 5*time.Minute + time.Second, 5*time.Minute + time.Second, 30, ""},
		{"an order", do, never, time.Hour, 360, keyway.Interrupted},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told []string
				node := api.NewClient(patient{slowly(c.answer), "gpu1", func(p keyway.Progress) { told = append(told, p.Message) }}, "http://link")
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Hour+time.Millisecond, cancel) // the user's Ctrl-C
				begun := time.Now()
				err := c.call(ctx, node)
				took := time.Since(begun).Round(time.Second)
				if errors.Is(err, context.Canceled) {
					err = keyway.AsError(err)
				}
				if took != c.took || (err != nil) != (c.kind != "") || err != nil && !keyway.Is(err, c.kind) || len(told) != c.notices {
					t.Errorf("after %v, with %d notices: %v", took, len(told), err)
				}
				if slices.ContainsFunc(told, func(s string) bool { return !strings.Contains(s, "gpu1") }) {
					t.Errorf("told: %q", told)
				}
				cancel()
			})
		})
	}
}

// TestEachQuestionIsGivenUp sends each kind of request to a node that never answers. Those that
// only ask end by themselves; the others do not.
func TestEachQuestionIsGivenUp(t *testing.T) {
	ignore := func(keyway.Progress) {}
	type call func(ctx context.Context, c *api.Client) error
	questions := map[string]call{
		"Info":       func(ctx context.Context, c *api.Client) error { _, err := c.Info(ctx); return err },
		"List":       func(ctx context.Context, c *api.Client) error { _, err := c.List(ctx); return err },
		"GPUs":       func(ctx context.Context, c *api.Client) error { _, err := c.GPUs(ctx); return err },
		"Templates":  func(ctx context.Context, c *api.Client) error { _, err := c.Templates(ctx); return err },
		"Containers": func(ctx context.Context, c *api.Client) error { _, err := c.Containers(ctx); return err },
		"Facts":      func(ctx context.Context, c *api.Client) error { _, err := c.Facts(ctx, keyway.Spec{}); return err },
		"Environments": func(ctx context.Context, c *api.Client) error {
			_, err := c.Environments(ctx, []keyway.Name{"train"})
			return err
		},
		"ImageLayers": func(ctx context.Context, c *api.Client) error { _, err := c.ImageLayers(ctx, "", "a"); return err },
		"HaveLayers":  func(ctx context.Context, c *api.Client) error { _, err := c.HaveLayers(ctx, "", nil); return err },
	}
	orders := map[string]call{
		"Create": func(ctx context.Context, c *api.Client) error {
			_, err := c.Create(ctx, keyway.Spec{Name: "facts"}, ignore)
			return err
		},
		"Adopt": func(ctx context.Context, c *api.Client) error {
			_, err := c.Adopt(ctx, keyway.Adoption{Name: "facts"}, ignore)
			return err
		},
		"Stop":     func(ctx context.Context, c *api.Client) error { return c.Stop(ctx, "facts", 0) },
		"Start":    func(ctx context.Context, c *api.Client) error { return c.Start(ctx, "facts") },
		"Remove":   func(ctx context.Context, c *api.Client) error { return c.Remove(ctx, "facts") },
		"Purge":    func(ctx context.Context, c *api.Client) error { return c.Purge(ctx, "facts") },
		"Undo":     func(ctx context.Context, c *api.Client) error { return c.Undo(ctx, "facts") },
		"Admit":    func(ctx context.Context, c *api.Client) error { return c.Admit(ctx, "facts", nil) },
		"WaitIdle": func(ctx context.Context, c *api.Client) error { return c.WaitIdle(ctx, "facts") },
		"ExportImage": func(ctx context.Context, c *api.Client) error {
			_, err := c.ExportImage(ctx, "", "a", 0)
			return err
		},
		"ImportImage": func(ctx context.Context, c *api.Client) error {
			return c.ImportImage(ctx, "", "a", io.MultiReader(strings.NewReader("an archive")))
		},
		"PullImage": func(ctx context.Context, c *api.Client) error {
			return c.PullImage(ctx, "", keyway.Pull{Image: "a"}, ignore)
		},
	}
	ends := func(t *testing.T, each call, hangs http.RoundTripper) (byItself bool) {
		synctest.Test(t, func(t *testing.T) {
			node := api.NewClient(patient{hangs, "gpu1", ignore}, "http://link/v1/places/gpu1/node")
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			err := each(ctx, node)
			byItself = ctx.Err() == nil
			if err == nil || byItself && !keyway.Is(err, keyway.Unreachable) {
				t.Error(err)
			}
		})
		return byItself
	}
	for m := range reflect.TypeFor[api.Node]().Methods() {
		question, order := questions[m.Name], orders[m.Name]
		switch {
		case m.Name == "Dial": // see TestAStreamThatIsNeverConnected
		case question != nil:
			for _, hangs := range []http.RoundTripper{slowly(24 * time.Hour), headOnly{}} {
				if !ends(t, question, hangs) {
					t.Errorf("%s waits for as long as the user does for a node that is %T", m.Name, hangs)
				}
			}
		case order == nil:
			t.Errorf("is %s a question?", m.Name)
		case ends(t, order, slowly(24*time.Hour)):
			t.Errorf("%s is given up", m.Name)
		}
	}
}

// closedPath is a connection that a stream has closed when the time for a handshake was over.
type closedPath struct{ net.Conn }

func (closedPath) Read([]byte) (int, error) { return 0, context.Canceled }
func (closedPath) Close() error             { return nil }

// TestAStreamThatIsNeverConnected checks that a stream ends, with a reason, if the node does not connect it in its
// time, and that an open one waits.
func TestAStreamThatIsNeverConnected(t *testing.T) {
	for _, c := range []struct {
		waited  time.Duration
		open    bool
		forGood bool
	}{{0, false, false}, {openTimeout, false, true}, {openTimeout, true, false}} {
		d := &dialer{uplink: &uplink{place: "gpu1"}, name: "train", begun: time.Now().Add(-c.waited), opened: func() bool { return c.open }}
		_, err := newPath(t.Context(), closedPath{}, d).Read(make([]byte, 1))
		if stream.IsPermanent(err) != c.forGood || !strings.Contains(err.Error(), "the node at gpu1 does not connect to train") {
			t.Errorf("after %v, open %v: %v", c.waited, c.open, err)
		}
	}
}

// TestAStrangerBeforeANodeThatHangs checks that a stream whose guest does not prove its identity
// dials again although the node does not report the workspace's state.
func TestAStrangerBeforeANodeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &connection{Client: api.NewClient(slowly(24*time.Hour), "http://link")}
		d := &dialer{uplink: &uplink{place: "gpu1", up: node}, name: "train", opened: func() bool { return true }}
		begun := time.Now()
		if err := d.Stranger(t.Context()); err != nil || time.Since(begun) != lookTime {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}
