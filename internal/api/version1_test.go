package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// The bytes in testdata/version1 are what a link and a node of protocol version 1 said
// to each other before greetings had a range of versions: a connection a request.

// notingNode always gives the same answers, and records the requests.
type notingNode struct {
	mu    sync.Mutex
	notes []string
}

func (n *notingNode) note(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notes = append(n.notes, fmt.Sprintf(format, args...))
}

func (n *notingNode) noted() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.notes)
}

func (n *notingNode) Info(context.Context) (Info, error) {
	n.note("info")
	return Info{Version: "v1.0.0", OS: "linux", Arch: "amd64", Host: "gpu1", User: "ada", Engines: []EngineInfo{
		{Name: "docker", Usable: true}, {Name: "podman", Why: keyway.Errorf(keyway.EngineAbsent, "not installed").Hint("install it")},
	}}, nil
}

func (n *notingNode) List(context.Context) (Listing, error) {
	n.note("list")
	return Listing{Workspaces: []keyway.Workspace{{Name: "train", Engine: "docker", State: keyway.Running, Sessions: 2}}}, nil
}

func (n *notingNode) Create(_ context.Context, s keyway.Spec, report func(keyway.Progress)) (keyway.Workspace, error) {
	text, err := json.Marshal(s)
	n.note("create %s %v", text, err)
	report(keyway.Progress{Message: "pulling", Done: 1, Total: 2})
	return keyway.Workspace{Name: s.Name, Engine: s.Engine, State: keyway.Running}, nil
}

func (n *notingNode) Stop(_ context.Context, name keyway.Name, grace time.Duration) error {
	n.note("stop %s %v", name, grace)
	return keyway.Errorf(keyway.NotFound, "no %s", name).Hint("try another")
}

func (n *notingNode) Start(_ context.Context, name keyway.Name) error {
	n.note("start %s", name)
	return nil
}

func (n *notingNode) Remove(_ context.Context, name keyway.Name) error {
	n.note("remove %s", name)
	return nil
}

func (n *notingNode) Admit(_ context.Context, name keyway.Name, keys []keyway.EntryKey) error {
	n.note("admit %s %v", name, keys)
	return nil
}

func (n *notingNode) Facts(_ context.Context, s keyway.Spec) (keyway.Facts, error) {
	n.note("facts %s", s.Image)
	return keyway.Facts{Arch: "amd64"}, nil
}

func (n *notingNode) Purge(_ context.Context, name keyway.Name) error {
	n.note("purge %s", name)
	return nil
}

func (n *notingNode) Undo(_ context.Context, name keyway.Name) error {
	n.note("undo %s", name)
	return nil
}

func (n *notingNode) WaitIdle(_ context.Context, name keyway.Name) error {
	n.note("settle %s", name)
	return nil
}

// GPUs are newer than the recorded conversations.
func (n *notingNode) Templates(context.Context) ([][]byte, error) { return nil, nil }

func (n *notingNode) GPUs(context.Context) (keyway.GPUReport, error) { return keyway.GPUReport{}, nil }

func (n *notingNode) ImageLayers(context.Context, string, string) (keyway.ImageLayers, error) {
	return keyway.ImageLayers{}, nil
}

func (n *notingNode) HaveLayers(context.Context, string, []string) (int, error) { return 0, nil }

func (n *notingNode) ExportImage(context.Context, string, string, int) (io.ReadCloser, error) {
	return http.NoBody, nil
}

func (n *notingNode) PullImage(context.Context, string, keyway.Pull, func(keyway.Progress)) error {
	return nil
}
func (n *notingNode) Containers(context.Context) ([]keyway.Container, error) { return nil, nil }
func (n *notingNode) Adopt(context.Context, keyway.Adoption, func(keyway.Progress)) (keyway.Workspace, error) {
	return keyway.Workspace{}, nil
}
func (n *notingNode) ImportImage(context.Context, string, string, io.Reader) error { return nil }

func (n *notingNode) Environments(context.Context, []keyway.Name) ([]keyway.Environment, error) {
	return nil, nil
}

// Dial connects to an echo.
func (n *notingNode) Dial(_ context.Context, name keyway.Name) (net.Conn, error) {
	n.note("dial %s", name)
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		word := make([]byte, len("hello"))
		if _, err := io.ReadFull(theirs, word); err == nil {
			n.note("heard %s", word)
			_, _ = theirs.Write(word)
		}
	}()
	return ours, nil
}

// conversations returns a client's requests, each with its result.
func conversations() map[string]func(*Client) string {
	ctx := context.Background()
	said := func(v any, err error) string {
		text, bad := json.Marshal(v)
		return fmt.Sprintf("%s %v", text, errors.Join(err, bad))
	}
	spec := keyway.Spec{
		Name: "train", Engine: "docker", Image: "debian:12", Command: []string{"sleep", "1"},
		Access: keyway.Access{AuthorizedKeys: []string{"ssh-ed25519 AAAA ada@laptop"}}, Resources: keyway.Resources{ShmSize: 1 << 30},
		Files: keyway.Files{ReadOnly: true}, Process: keyway.Process{Env: map[string]string{"A": "b"}},
	}
	return map[string]func(*Client) string{
		"info":   func(c *Client) string { return said(c.Info(ctx)) },
		"list":   func(c *Client) string { return said(c.List(ctx)) },
		"stop":   func(c *Client) string { return said(nil, c.Stop(ctx, "train", 5*time.Second)) },
		"start":  func(c *Client) string { return said(nil, c.Start(ctx, "train")) },
		"settle": func(c *Client) string { return said(nil, c.WaitIdle(ctx, "train")) },
		"remove": func(c *Client) string { return said(nil, c.Remove(ctx, "train")) },
		"create": func(c *Client) string {
			var news []keyway.Progress
			w, err := c.Create(ctx, spec, func(p keyway.Progress) { news = append(news, p) })
			return said([]any{w, news}, err)
		},
		"stream": func(c *Client) string {
			conn, err := c.Dial(ctx, "train")
			if err != nil {
				return err.Error()
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "hello"); err != nil {
				return err.Error()
			}
			word := make([]byte, len("hello"))
			_, err = io.ReadFull(conn, word)
			return said(string(word), err)
		},
	}
}

// recorded returns the recorded bytes of one side of a conversation.
func recorded(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/version1", file))
	if err != nil {
		t.Fatal(err)
	}
	data, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestLinkOfVersion1 replays the requests of a link of version 1 to this node.
func TestLinkOfVersion1(t *testing.T) {
	for name, want := range map[string]string{
		"info": "info", "list": "list", "stop": "stop train 5s", "start": "start train", "settle": "settle train", "remove": "remove train",
		"create": `create {"name":"train","engine":"docker","image":"debian:12","command":["sleep","1"],"authorizedKeys":["ssh-ed25519 AAAA ada@laptop"],` +
			`"shmSize":1073741824,"readOnly":true,"env":{"A":"b"}} <nil>`,
		"stream": "dial train; heard hello",
	} {
		ours, theirs := socketPair(t)
		node := &notingNode{}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		var served sync.WaitGroup
		served.Go(func() { _ = ServeConn(ctx, theirs, NewHandler(node)) })
		if _, err := ours.Write(recorded(t, name+".link")); err != nil {
			t.Fatal(err)
		}
		answered := awaitAnswer(ours)
		if got := strings.Join(node.noted(), "; "); got != want || answered != nil {
			t.Errorf("%s: the node was asked %q, want %q; its answer: %v", name, got, want, answered)
		}
		ours.Close()
		served.Wait()
		cancel()
	}
}

// The frames of RFC 9113, section 6, that carry a request and its answer.
const (
	dataFrame    = 0
	headersFrame = 1
	windowFrame  = 8
	endStream    = 1 // a flag of the first two
)

type frame struct {
	kind, flags    byte
	stream, length uint32
}

// ends reports whether the frame is the last of its side of a request.
func (f frame) ends() bool { return f.kind != windowFrame && f.flags&endStream != 0 }

// awaitAnswer reads frames until the answer to a request has ended.
func awaitAnswer(r io.Reader) error {
	for {
		f, err := readFrame(r)
		switch {
		case err != nil:
			return err
		case f.stream == 0:
		case f.kind != dataFrame && f.kind != headersFrame && f.kind != windowFrame:
			return fmt.Errorf("a frame of type %d", f.kind)
		case f.ends():
			return nil
		}
	}
}

// readFrame reads a frame (RFC 9113, section 4.1) and leaves its payload out.
func readFrame(r io.Reader) (frame, error) {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	length := uint32(head[0])<<16 | uint32(head[1])<<8 | uint32(head[2])
	_, err := io.CopyN(io.Discard, r, int64(length))
	return frame{kind: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:]) & (1<<31 - 1), length: length}, err
}

// TestNodeOfVersion1 replays the answers of a node of version 1 to this link.
func TestNodeOfVersion1(t *testing.T) {
	here := serve(t, &notingNode{})
	for name, call := range conversations() {
		ours, theirs := socketPair(t)
		var played sync.WaitGroup
		played.Go(func() {
			if err := playNode(theirs, recorded(t, name+".node")); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		down := make(chan struct{})
		cc, err := Connect(context.Background(), ours, whenEnded(func() { close(down) }))
		if err != nil {
			t.Fatal(err)
		}
		got, want := call(NewClient(cc, "http://node").Speaking(1)), call(here)
		if got != want {
			t.Errorf("%s of a node of version 1: %s, want %s", name, got, want)
		}
		cc.Close()
		<-down
		played.Wait()
	}
}

// playNode answers one request with the recorded bytes of a node. The data of the
// answer waits for that of the request, as it did then: an answer that ends first ends
// the request, too.
func playNode(conn net.Conn, answer []byte) error {
	defer conn.Close()
	preface := make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	if _, err := io.ReadFull(conn, preface); err != nil {
		return err
	}
	asked, err := awaitFrame(conn, func(f frame) bool { return f.kind == headersFrame })
	if err != nil {
		return err
	}
	head := headersIn(answer)
	if _, err := conn.Write(answer[:head]); err != nil {
		return err
	}
	if !asked.ends() {
		if _, err := awaitFrame(conn, func(f frame) bool { return f.ends() || f.kind == dataFrame && f.length > 0 }); err != nil {
			return err
		}
	}
	if _, err := conn.Write(answer[head:]); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, conn)
	return nil
}

// awaitFrame reads frames until it finds the wanted one of a request's stream.
func awaitFrame(r io.Reader, found func(frame) bool) (frame, error) {
	for {
		f, err := readFrame(r)
		if err != nil || f.stream != 0 && found(f) {
			return f, err
		}
	}
}

// headersIn returns the number of bytes before the first data of a request's stream.
func headersIn(answer []byte) int {
	rest := bytes.NewReader(answer)
	for {
		at := len(answer) - rest.Len()
		if f, err := readFrame(rest); err != nil || f.stream != 0 && f.kind == dataFrame {
			return at
		}
	}
}
