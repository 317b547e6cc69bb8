package node

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeEngine has workspaces by name and may be unusable.
type fakeEngine struct {
	name    string
	broken  error
	has     []keyway.Name
	created *keyway.Spec
}

func (f *fakeEngine) Name() string                { return f.name }
func (f *fakeEngine) Probe(context.Context) error { return f.broken }
func (f *fakeEngine) Create(_ context.Context, s keyway.Spec, _ func(keyway.Progress)) (keyway.Workspace, error) {
	f.created = &s
	return keyway.Workspace{Name: s.Name, Engine: f.name}, nil
}

func (f *fakeEngine) List(context.Context) ([]keyway.Workspace, error) {
	if f.broken != nil {
		return nil, f.broken
	}
	var list []keyway.Workspace
	for _, n := range f.has {
		list = append(list, keyway.Workspace{Name: n, Engine: f.name, State: keyway.Running})
	}
	return list, nil
}

func (f *fakeEngine) act(name keyway.Name) error {
	if !slices.Contains(f.has, name) {
		return engine.NotFound(name)
	}
	return f.broken
}
func (f *fakeEngine) Stop(_ context.Context, n keyway.Name, _ time.Duration) error { return f.act(n) }
func (f *fakeEngine) Start(_ context.Context, n keyway.Name) error                 { return f.act(n) }
func (f *fakeEngine) Remove(_ context.Context, n keyway.Name) error                { return f.act(n) }
func (f *fakeEngine) Dial(_ context.Context, n keyway.Name) (net.Conn, error) {
	return nil, f.act(n)
}

var down = keyway.Errorf(keyway.EngineDown, "Docker does not run")

func TestCreateChoosesTheEngine(t *testing.T) {
	for _, c := range []struct {
		name   string
		spec   keyway.Spec
		docker error
		engine string // the engine that makes it; empty: none
		image  string
		says   string
	}{
		{"the first", keyway.Spec{Image: "x"}, nil, "docker", "x", "using docker"},
		{"a default image", keyway.Spec{}, nil, "docker", keyway.DefaultImage, keyway.DefaultImage},
		{"what is left", keyway.Spec{}, down, "host", "", "Docker does not run"},
		{"an image needs a container", keyway.Spec{Image: "x"}, down, "", "", ""},
		{"as asked", keyway.Spec{Engine: "host"}, nil, "host", "", ""},
		{"as asked, but it is down", keyway.Spec{Engine: "docker"}, down, "", "", ""},
		{"unheard of", keyway.Spec{Engine: "lxd"}, nil, "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			docker, host := &fakeEngine{name: "docker", broken: c.docker}, &fakeEngine{name: engine.Host}
			n := New(engine.HomesIn(t.TempDir()), nil, docker, host)
			c.spec.Name = "train"
			var said []string
			w, err := n.Create(context.Background(), c.spec, func(p keyway.Progress) { said = append(said, p.Message) })
			if (err == nil) != (c.engine != "") || w.Engine != c.engine {
				t.Fatalf("made by %q, %v", w.Engine, err)
			}
			if err != nil {
				return
			}
			made := docker.created
			if c.engine == "host" {
				made = host.created
			}
			if made.Image != c.image || made.Engine != c.engine || !strings.Contains(strings.Join(said, "\n"), c.says) {
				t.Errorf("made %+v, said %q", made, said)
			}
		})
	}
}

func TestANameIsTakenAcrossEngines(t *testing.T) {
	docker, host := &fakeEngine{name: "docker"}, &fakeEngine{name: engine.Host, has: []keyway.Name{"train"}}
	n := New(engine.HomesIn(t.TempDir()), nil, docker, host)
	if _, err := n.Create(context.Background(), keyway.Spec{Name: "train", Engine: "docker"}, func(keyway.Progress) {}); !keyway.Is(err, keyway.NameTaken) {
		t.Errorf("got %v", err)
	}
	if docker.created != nil {
		t.Error("made all the same")
	}
}

func TestWithoutAGuestNothingIsMadeButAllElseWorks(t *testing.T) {
	host := &fakeEngine{name: engine.Host, has: []keyway.Name{"train"}}
	full := keyway.Errorf(keyway.NoSpace, "the disk is full")
	n := New(engine.HomesIn(t.TempDir()), func() error { return full }, host)
	if _, err := n.Create(context.Background(), keyway.Spec{Name: "x"}, func(keyway.Progress) {}); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if err := n.Remove(context.Background(), "train"); err != nil {
		t.Error(err)
	}
	if err := n.Remove(context.Background(), "other"); !keyway.Is(err, keyway.NotFound) {
		t.Errorf("got %v", err)
	}
}

// TestTheGuestIsTriedAgain checks that the node looks for the guest program again for each
// workspace, whatever was missing before.
func TestTheGuestIsTriedAgain(t *testing.T) {
	host := &fakeEngine{name: engine.Host}
	full := keyway.Errorf(keyway.NoSpace, "the disk is full")
	why := []error{full, full, full, nil, nil}
	n := New(engine.HomesIn(t.TempDir()), func() error { now := why[0]; why = why[1:]; return now }, host)
	create := func() error {
		_, err := n.Create(t.Context(), keyway.Spec{Name: "x"}, func(keyway.Progress) {})
		return err
	}
	if err := create(); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if f, err := n.Facts(t.Context(), keyway.Spec{Name: "x"}); err != nil || f.NoGuest == nil {
		t.Errorf("%+v, %v", f.NoGuest, err)
	}
	if _, err := n.Adopt(t.Context(), keyway.Adoption{Name: "x", Container: "c"}, func(keyway.Progress) {}); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if f, err := n.Facts(t.Context(), keyway.Spec{Name: "x"}); err != nil || f.NoGuest != nil {
		t.Errorf("%+v, %v", f.NoGuest, err)
	}
	if err := create(); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestListTellsOfWhatCannotBeAsked checks that workspaces of an engine that does not answer are not
// forgotten.
func TestListTellsOfWhatCannotBeAsked(t *testing.T) {
	root := t.TempDir()
	homes := engine.HomesIn(root)
	if _, err := homes.Make(keyway.Spec{Name: "train", Engine: "docker", Image: "x", Access: keyway.Access{AuthorizedKeys: []string{"k"}}, Origin: keyway.Origin{Template: "small"}}, engine.Guest{}); err != nil {
		t.Fatal(err)
	}
	docker, host := &fakeEngine{name: "docker", broken: down}, &fakeEngine{name: engine.Host, has: []keyway.Name{"here"}}
	list, err := New(homes, nil, docker, host).List(context.Background())
	if err != nil || len(list.Workspaces) != 2 || len(list.Problems) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	here, train := list.Workspaces[0], list.Workspaces[1]
	if here.Name != "here" || here.State != keyway.Running || train.Name != "train" || train.State != keyway.Unknown || train.Image != "x" || train.Template != "small" {
		t.Errorf("%+v", list.Workspaces)
	}
	absent := &fakeEngine{name: "podman", broken: keyway.Errorf(keyway.EngineAbsent, "no Podman")}
	if list, _ := New(engine.HomesIn(t.TempDir()), nil, absent).List(context.Background()); len(list.Problems) != 0 {
		t.Errorf("an engine that nobody uses is no problem: %+v", list.Problems)
	}
}

// TestAnotherMachinesWorkspaceIsLeftAlone checks two machines with one home directory: each lists
// the other's workspaces, and changes nothing of them.
func TestAnotherMachinesWorkspaceIsLeftAlone(t *testing.T) {
	root := t.TempDir()
	homes := engine.HomesIn(root)
	if _, err := homes.Make(keyway.Spec{Name: "train", Engine: "docker"}, engine.Guest{}); err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(homes.Dir(), ".train.json")
	data, err := os.ReadFile(record)
	var rec engine.Record
	if err != nil || json.Unmarshal(data, &rec) != nil {
		t.Fatal(err)
	}
	rec.Machine = engine.Machine{ID: "another", Host: "gpu2"}
	if data, err = json.Marshal(rec); err != nil || os.WriteFile(record, data, 0o600) != nil {
		t.Fatal(err)
	}
	docker := &fakeEngine{name: "docker"}
	n := New(homes, nil, docker)
	list, err := n.List(t.Context())
	if err != nil || len(list.Workspaces) != 1 || list.Workspaces[0].State != keyway.Elsewhere || !strings.HasPrefix(list.Workspaces[0].Reason, "at gpu2") {
		t.Errorf("%+v, %v", list, err)
	}
	_, dialled := n.Dial(t.Context(), "train")
	for what, err := range map[string]error{
		"stop": n.Stop(t.Context(), "train", 0), "start": n.Start(t.Context(), "train"), "rm": n.Remove(t.Context(), "train"),
		"rm --volumes": n.Purge(t.Context(), "train"), "keys": n.Admit(t.Context(), "train", nil), "ssh": dialled,
	} {
		if !keyway.Is(err, keyway.Unreachable) || !strings.Contains(err.Error(), "gpu2") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := os.Stat(string(homes.Home("train"))); err != nil {
		t.Error(err)
	}
}

// TestListReportsOrphans checks that List reports workspaces whose container or processes
// were removed by other means, except those that are just being made.
func TestListReportsOrphans(t *testing.T) {
	homes := engine.HomesIn(t.TempDir())
	for _, name := range []keyway.Name{"whole", "gone", "coming"} {
		if _, err := homes.Make(keyway.Spec{Name: name, Engine: "docker"}, engine.Guest{}); err != nil {
			t.Fatal(err)
		}
		if err := homes.Revise(name, func(r *engine.Record) { r.Container = "0123" }); err != nil {
			t.Fatal(err)
		}
	}
	unlock, err := homes.TryLock("coming")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	docker := &fakeEngine{name: "docker", has: []keyway.Name{"whole"}}
	list, err := New(homes, nil, docker).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	states := map[keyway.Name]keyway.State{}
	for _, w := range list.Workspaces {
		states[w.Name] = w.State
		if w.State == keyway.Broken && w.Next != keyway.RemoveRest {
			t.Errorf("%s: %q names no next step", w.Name, w.Reason)
		}
	}
	if len(states) != 2 || states["whole"] != keyway.Running || states["gone"] != keyway.Broken {
		t.Errorf("listed: %v", states)
	}
}

// several is an engine of which there may be several daemons.
type several struct {
	fakeEngine
	which engine.Daemon
	err   error
}

func (s *several) Which(context.Context) (engine.Daemon, error) { return s.which, s.err }

// TestAHomeAloneIsHalfMade checks that the next Create removes the remains of a node that was
// killed before it made a container.
func TestAHomeAloneIsHalfMade(t *testing.T) {
	homes := engine.HomesIn(t.TempDir())
	if _, err := homes.Make(keyway.Spec{Name: "train", Engine: "docker"}, engine.Guest{}); err != nil {
		t.Fatal(err)
	}
	n := New(homes, nil, &fakeEngine{name: "docker"})
	for container, want := range map[string]keyway.Step{"": keyway.FinishOrRemove, "0123": keyway.RemoveRest} {
		if err := homes.Revise("train", func(r *engine.Record) { r.Container = container }); err != nil {
			t.Fatal(err)
		}
		list, err := n.List(t.Context())
		if err != nil || len(list.Workspaces) != 1 || list.Workspaces[0].State != keyway.Broken || list.Workspaces[0].Next != want {
			t.Errorf("%q: %+v, %v", container, list, err)
		}
	}
}

// TestAnotherDaemonsWorkspaceIsListedAsSuch checks that a workspace that this daemon does not know,
// because another one has it, is not removed.
func TestAnotherDaemonsWorkspaceIsListedAsSuch(t *testing.T) {
	homes := engine.HomesIn(t.TempDir())
	if _, err := homes.Make(keyway.Spec{Name: "train", Engine: "docker"}, engine.Guest{}); err != nil {
		t.Fatal(err)
	}
	made := engine.Daemon{ID: "first", At: "unix:///run/docker.sock"}
	if err := homes.Revise("train", func(r *engine.Record) { r.Daemon, r.Container = made, "0123" }); err != nil {
		t.Fatal(err)
	}
	rec, err := homes.Record("train")
	if err != nil || rec.Daemon != made {
		t.Fatal(rec, err)
	}
	for _, c := range []struct {
		which engine.Daemon
		err   error
		state keyway.State
		next  keyway.Step
	}{
		{made, nil, keyway.Broken, keyway.RemoveRest},
		{engine.Daemon{ID: "first", At: "unix:///var/run/docker.sock"}, nil, keyway.Broken, keyway.RemoveRest},
		{engine.Daemon{ID: "second", At: "unix:///run/user/1000/docker.sock"}, nil, keyway.Elsewhere, ""},
		{engine.Daemon{}, nil, keyway.Unknown, ""},
		{engine.Daemon{}, errors.New("it does not answer"), keyway.Unknown, ""},
	} {
		list, err := New(homes, nil, &several{fakeEngine{name: "docker"}, c.which, c.err}).List(t.Context())
		if err != nil || len(list.Workspaces) != 1 || list.Workspaces[0].State != c.state || list.Workspaces[0].Next != c.next {
			t.Errorf("%+v, %v: %+v, %v", c.which, c.err, list, err)
		}
		if refused := homes.Refuse(rec, c.which) != nil; refused != (c.state == keyway.Elsewhere) {
			t.Errorf("%+v: refused: %t", c.which, refused)
		}
	}
}
