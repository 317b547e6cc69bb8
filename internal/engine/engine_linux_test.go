package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keyway/internal/keyway"
)

func spec(name keyway.Name) keyway.Spec {
	return keyway.Spec{Name: name, Engine: "docker", Access: keyway.Access{AuthorizedKeys: []string{"ssh-ed25519 A", "ssh-ed25519 B"}}}
}

// TestAdmit checks that sent keys may enter beside those of the workspace's creation. Lines that
// the workspace has written to its file are removed, and are never copied to the Record.
func TestAdmit(t *testing.T) {
	homes := HomesIn(t.TempDir())
	home, err := homes.Make(spec("train"), Guest{Dir: "/guests/cafe"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(home.AuthorizedKeys(), []byte("ssh-ed25519 INTRUDER\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	want := "ssh-ed25519 A\nssh-ed25519 B\n" + `expiry-time="20260301130000Z" ssh-ed25519 C` + "\n"
	file, err := homes.Admit("train", []keyway.EntryKey{{Line: "ssh-ed25519 C", Until: now.Add(time.Hour)}}, now)
	written, readErr := os.ReadFile(home.AuthorizedKeys())
	if err != nil || readErr != nil || string(file) != want || string(written) != want {
		t.Errorf("the file is %q, %v; written is %q, %v; want %q", file, err, written, readErr, want)
	}
	if file, err = homes.Admit("train", []keyway.EntryKey{{Line: "ssh-ed25519 D"}}, now.Add(2*time.Hour)); err != nil || strings.Contains(string(file), " C") || !strings.Contains(string(file), " D") {
		t.Errorf("after C's end: %q, %v", file, err)
	}
	if _, err := homes.Admit("other", nil, now); !keyway.Is(err, keyway.NotFound) {
		t.Errorf("of no workspace: %v", err)
	}
}

func TestMake(t *testing.T) {
	root := t.TempDir()
	homes := HomesIn(root)
	home, err := homes.Make(spec("train"), Guest{Dir: "/guests/cafe"})
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := os.ReadFile(home.AuthorizedKeys()); err != nil || string(keys) != "ssh-ed25519 A\nssh-ed25519 B\n" {
		t.Errorf("the keys are %q, %v", keys, err)
	}
	if s, err := homes.Spec("train"); err != nil || s.Engine != "docker" || len(s.AuthorizedKeys) != 2 {
		t.Errorf("the spec is %+v, %v", s, err)
	}
	if err := homes.RunsWith("train", Guest{Dir: "/guests/beef"}); err != nil {
		t.Error(err)
	}
	if rec, err := homes.Record("train"); err != nil || rec.Guest != "beef" || rec.Spec.Engine != "docker" || time.Since(rec.Created) > time.Minute {
		t.Errorf("remembered is %+v, %v", rec, err)
	}
	if _, err := homes.Make(spec("train"), Guest{Dir: "/guests/cafe"}); !keyway.Is(err, keyway.NameTaken) {
		t.Errorf("a second one: %v", err)
	}
	if names, err := homes.Names(); err != nil || len(names) != 1 || names[0] != "train" {
		t.Errorf("there are %v, %v", names, err)
	}
	if err := homes.Remove("train"); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(homes.Dir()); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestNoSecretIsRecorded(t *testing.T) {
	root := t.TempDir()
	s := spec("train")
	s.Secrets = []keyway.Secret{{Name: "token", Value: []byte("s3cret")}}
	if _, err := HomesIn(root).Make(s, Guest{Dir: "/guests/cafe"}); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte("s3cret")) || bytes.Contains(data, []byte("czNjcmV0")) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMakeOnFullDisk(t *testing.T) {
	root := t.TempDir()
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size=4k,nr_inodes=3"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount(root, 0); err != nil {
			t.Error(err)
		}
	}()
	homes := HomesIn(root)
	_, err := homes.Make(spec("train"), Guest{Dir: "/guests/cafe"})
	if !keyway.Is(err, keyway.NoSpace) || !strings.Contains(keyway.AsError(err).Help(), "df -h") {
		t.Errorf("it says: %v", err)
	}
	if entries, err := os.ReadDir(homes.Dir()); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestLock(t *testing.T) {
	homes := HomesIn(t.TempDir())
	unlock, err := homes.TryLock("train")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := homes.TryLock("train"); !keyway.Is(err, keyway.NameTaken) {
		t.Errorf("a second time: %v", err)
	}
	if other, err := homes.TryLock("other"); err != nil {
		t.Error(err)
	} else {
		other()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*lockPoll)
	defer cancel()
	if _, err := homes.Lock(ctx, "train"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting without end: %v", err)
	}
	got := make(chan error, 1)
	go func() {
		next, err := homes.Lock(context.Background(), "train")
		if err == nil {
			next()
		}
		got <- err
	}()
	unlock()
	if err := <-got; err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(homes.Dir()); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// TestSpecIsOutOfReach checks that a workspace cannot change its Spec: it could otherwise choose
// what the place runs for it, outside of its container, at the next start.
func TestSpecIsOutOfReach(t *testing.T) {
	homes := HomesIn(t.TempDir())
	home, err := homes.Make(spec("train"), Guest{Dir: "/guests/cafe"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"spec.json", ".json", "train.json", ".train.json"} {
		if err := os.WriteFile(filepath.Join(string(home), name), []byte(`{"spec":{"name":"train","engine":"host"},"engine":"host"}`), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := homes.Spec("train"); err != nil || s.Engine != "docker" {
		t.Errorf("it says that it was made from %+v, %v", s, err)
	}
	if rel, err := filepath.Rel(string(home), homes.recordPath("train")); err != nil || !strings.HasPrefix(rel, "..") {
		t.Errorf("the record is inside of the Home: %s, %v", rel, err)
	}
}

// TestDialLongPath checks a Home whose socket has a longer path than sun_path.
func TestDialLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", short)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	home := keyway.Home(dir)
	if err := os.Link(short, home.Socket()); err != nil {
		t.Fatal(err)
	}
	conn, err := Dial(context.Background(), home)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestGreets(t *testing.T) {
	for says, good := range map[string]bool{"SSH-2.0-x\r\n": true, "HTTP/1.1 400\r\n": false, "": false} {
		ours, theirs := net.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer theirs.Close()
			_, _ = io.ReadFull(theirs, make([]byte, len(probeBanner)))
			_, _ = io.WriteString(theirs, says)
		}()
		if err := Greets(context.Background(), ours); (err == nil) != good {
			t.Errorf("%q: %v", says, err)
		}
		<-ended
	}
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := Greets(ctx, ours); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent one: %v", err)
	}
}

func TestIsHomeOf(t *testing.T) {
	for path, want := range map[string]bool{
		"/root/.local/state/keyway/workspaces/x": true, "/etc": false, "/etc/x": false, "workspaces/x": false, "/workspaces/x/../..": false, "": false,
	} {
		if got := IsHomeOf(path, "x"); got != want {
			t.Errorf("%q: %v", path, got)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"spec":{"name":"x","gpus":{"all":true}},"created":"2026-01-02T03:04:05Z","guest":"cafe"}`))
	f.Add([]byte(`{"spec":{"name":`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, err := decodeRecord(bytes.NewReader(in)); err == nil && len(in) > maxRecord {
			t.Error("a record without end is read")
		}
	})
}

// probed is an engine of which only the name and the probe matter.
type probed struct {
	Engine
	name string
	err  error
}

func (p probed) Name() string                { return p.name }
func (p probed) Probe(context.Context) error { return p.err }

func TestChoose(t *testing.T) {
	down := keyway.Errorf(keyway.EngineDown, "Docker does not run here")
	absent := keyway.Errorf(keyway.EngineAbsent, "Podman is not installed here")
	for _, c := range []struct {
		from []Engine
		want string
		why  string
	}{
		{[]Engine{probed{name: "docker"}, probed{name: "host"}}, "docker", "using docker"},
		{[]Engine{probed{name: "docker", err: down}, probed{name: "podman", err: absent}, probed{name: "host"}}, "host",
			"using host (docker: Docker does not run here; podman: Podman is not installed here)"},
	} {
		if e, why, err := Choose(context.Background(), c.from); err != nil || e.Name() != c.want || why != c.why {
			t.Errorf("%v, %q, %v", e, why, err)
		}
	}
	if _, _, err := Choose(context.Background(), []Engine{probed{name: "docker", err: down}}); !keyway.Is(err, keyway.EngineDown) || keyway.AsError(err).Help() == "" {
		t.Errorf("with none usable: %v", err)
	}
	if _, _, err := Choose(context.Background(), nil); !keyway.Is(err, keyway.EngineAbsent) {
		t.Errorf("with none at all: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := Choose(ctx, []Engine{probed{name: "docker", err: ctx.Err()}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
