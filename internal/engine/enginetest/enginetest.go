//go:build linux

// Package enginetest has the contract that every engine keeps, as tests. An engine's own test makes
// a Subject and calls Run.
//
// The suite uses the engine through its interface only, and speaks SSH to the guests that it dials.
// So it holds for an engine whatever the platform behind it is.
package enginetest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/engine"
	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

// Subject is an engine to be tested, and what its platform can do.
type Subject struct {
	// Engine is the engine. Its owner or root is the test's alone.
	Engine engine.Engine
	// Image is a reference of the image that contains Programs.Tool as /tool; empty for an engine
	// without images.
	Image string
	// Tool is the tool's path inside a workspace.
	Tool string
	// Left lists all traces of workspaces at the place: files, containers,
	// volumes.
	Left func(t testing.TB) []string
	// Kill kills the workspace's first process without keyway, by SIGKILL.
	Kill func(t testing.TB, name keyway.Name)
	// StopOutside stops a workspace without keyway, with the grace that its container has.
	StopOutside func(ctx context.Context, name keyway.Name) error
	// ContainerOf is the container that a workspace is made as; nil: there is none.
	ContainerOf func(name keyway.Name) string
	// Walled says that a workspace is a container: other users are in it, and its
	// guest's memory is closed to them.
	Walled bool
	// Home returns the path of a workspace's Home inside it; nil: keyway.GuestHome.
	Home func(name keyway.Name) string
	// Also adds the settings that every workspace of the tests needs beside those of a test; nil:
	// none.
	Also func(*keyway.Spec)
	// Abilities lists the abilities of the engine beside engine.Engine, as node.Abilities names
	// them. Run fails if the engine has fewer or more.
	Abilities []string
	// Dials is the number of connections that are opened at once.
	Dials int
}

// Given is the name of a variable of Image or, without an image, of the machine.
const Given = "GIVEN"

// Programs are the guest and the tool, built for these tests.
type Programs struct {
	Guest engine.Guest
	Tool  string // a static program
}

// Build builds the programs into dir.
func Build(dir string) (Programs, error) {
	p := Programs{Guest: engine.Guest{Dir: filepath.Join(dir, "guest"), Version: keyway.Version}, Tool: filepath.Join(dir, "tool")}
	if err := os.MkdirAll(p.Guest.Dir, 0o755); err != nil {
		return p, err
	}
	for target, pkg := range map[string]string{
		filepath.Join(p.Guest.Dir, keyway.GuestProgram): "keyway/cmd/keyway-guest",
		p.Tool: "keyway/internal/engine/enginetest/tool",
	} {
		cmd := exec.Command("go", "build", "-o", target, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return p, fmt.Errorf("building %s: %w\n%s", pkg, err, out)
		}
	}
	for _, name := range keyway.GuestLinks() {
		if err := os.Symlink(keyway.GuestProgram, filepath.Join(p.Guest.Dir, name)); err != nil {
			return p, err
		}
	}
	return p, nil
}

// key is the one that enters all workspaces of the tests.
var key = sync.OnceValues(func() (ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(private)
})

// AuthorizedKey returns the public half of the key with which Client enters.
func AuthorizedKey(t testing.TB) string {
	t.Helper()
	signer, err := key()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

// Spec returns a plain workspace with a name.
func (s Subject) Spec(t testing.TB, name keyway.Name) keyway.Spec {
	spec := keyway.Spec{Name: name, Image: s.Image, Access: keyway.Access{AuthorizedKeys: []string{AuthorizedKey(t)}}}
	if s.Also != nil {
		s.Also(&spec)
	}
	return spec
}

// patience bounds one step of a test. It is far above what any needs, also with
// the race detector on a busy machine.
const patience = 3 * time.Minute

// Context returns a context for one step of a test.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// Quiet drops all reports.
func Quiet(keyway.Progress) {}

// Create makes the workspace and removes it when the test ends.
func (s Subject) Create(t testing.TB, spec keyway.Spec) keyway.Workspace {
	t.Helper()
	w, err := s.Engine.Create(Context(t), spec, Quiet)
	if err != nil {
		t.Fatalf("Create %s: %v", spec.Name, Full(err))
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Engine.Remove(ctx, spec.Name); err != nil && !keyway.Is(err, keyway.NotFound) {
			t.Errorf("Remove %s: %v", spec.Name, Full(err))
		}
	})
	return w
}

// Full returns an error with its next step, as users see it.
func Full(err error) string {
	e := keyway.AsError(err)
	return fmt.Sprintf("[%s] %v (next: %s)", e.Kind, err, e.Help())
}

// WantKind fails the test unless err is of that kind, and offers a next step.
func WantKind(t testing.TB, err error, kind keyway.Kind) {
	t.Helper()
	if !keyway.Is(err, kind) {
		t.Fatalf("the error is %v, want kind %s", err, kind)
	}
	if keyway.AsError(err).Help() == "" {
		t.Fatalf("%v has no next step", err)
	}
}

// Client enters the workspace over a connection of the engine. It accepts only the host key that
// the guest has reported.
func (s Subject) Client(t testing.TB, w keyway.Workspace) *ssh.Client {
	t.Helper()
	client, err := s.enter(Context(t), w)
	if err != nil {
		t.Fatalf("entering %s: %v", w.Name, err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func (s Subject) enter(ctx context.Context, w keyway.Workspace) (*ssh.Client, error) {
	signer, err := key()
	if err != nil {
		return nil, err
	}
	return s.enterWith(ctx, w, signer)
}

func (s Subject) enterWith(ctx context.Context, w keyway.Workspace, signer ssh.Signer) (*ssh.Client, error) {
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w.Guest.HostKey))
	if err != nil {
		return nil, fmt.Errorf("the guest's host key %q: %w", w.Guest.HostKey, err)
	}
	conn, err := s.Engine.Dial(ctx, w.Name)
	if err != nil {
		return nil, err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, "workspace", &ssh.ClientConfig{
		User: w.Guest.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(hostKey),
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

// Run runs a command of the tool in the workspace and returns its output.
func (s Subject) Run(t testing.TB, w keyway.Workspace, args string) string {
	t.Helper()
	out, err := s.Try(t, w, args)
	if err != nil {
		t.Fatalf("tool %s in %s: %v", args, w.Name, err)
	}
	return out
}

// Try is Run for commands that may fail.
func (s Subject) Try(t testing.TB, w keyway.Workspace, args string) (string, error) {
	t.Helper()
	session, err := s.Client(t, w).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	var stderr bytes.Buffer
	session.Stderr = &stderr
	out, err := session.Output(s.Tool + " " + args)
	if err != nil {
		err = fmt.Errorf("%w: %s", err, &stderr)
	}
	return strings.TrimSuffix(string(out), "\n"), err
}

// State returns the workspace as List reports it.
func (s Subject) State(t testing.TB, name keyway.Name) (keyway.Workspace, bool) {
	t.Helper()
	list, err := s.Engine.List(Context(t))
	if err != nil {
		t.Fatalf("List: %v", Full(err))
	}
	for _, w := range list {
		if w.Name == name {
			return w, true
		}
	}
	return keyway.Workspace{}, false
}

// Await asks List until the workspace is in that state.
func (s Subject) Await(t testing.TB, name keyway.Name, want keyway.State) keyway.Workspace {
	t.Helper()
	ctx := Context(t)
	for {
		w, there := s.State(t, name)
		if there && w.State == want {
			return w
		}
		if err := sleep.For(ctx, 20*time.Millisecond); err != nil {
			t.Fatalf("%s is %s (%s), not %s", name, w.State, w.Reason, want)
		}
	}
}

// WantNothingOf fails the test if there is a trace of the workspace.
func (s Subject) WantNothingOf(t testing.TB, name keyway.Name) {
	t.Helper()
	for _, trace := range s.Left(t) {
		if strings.Contains(trace, string(name)) {
			t.Errorf("left of %s: %s", name, trace)
		}
	}
}

// half is a connection whose sending side can be closed alone.
type half interface {
	net.Conn
	CloseWrite() error
}

// closeHalf closes the test's side of the connection, and returns the guest's remaining output.
func closeHalf(conn net.Conn) ([]byte, error) {
	h, ok := conn.(half)
	if !ok {
		return nil, errors.New("the connection has no CloseWrite")
	}
	if err := h.CloseWrite(); err != nil {
		return nil, err
	}
	return io.ReadAll(conn)
}
