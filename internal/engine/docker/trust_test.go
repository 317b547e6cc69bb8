package docker

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/moby/moby/api/types/mount"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// TestRecall checks labels that an image could carry, and the Homes that they could name.
func TestRecall(t *testing.T) {
	own, other := engine.HomesIn(t.TempDir()), engine.HomesIn(t.TempDir())
	make := func(h engine.Homes, name keyway.Name, container string) keyway.Home {
		t.Helper()
		home, err := h.Make(keyway.Spec{Name: name, Engine: keyway.EngineDocker}, engine.Guest{Dir: "/guests/cafe"})
		if err == nil {
			err = h.Revise(name, func(r *engine.Record) { r.Container = container })
		}
		if err != nil {
			t.Fatal(err)
		}
		return home
	}
	mine := make(own, "mine", "id-1")
	elsewhere := make(other, "elsewhere", "id-2")
	made := make(other, "made", "")
	e := &Engine{client: nobody(t), homes: own, owner: "7"}
	for what, c := range map[string]struct {
		name   keyway.Name
		id     string
		label  string
		home   keyway.Home
		trusts bool
	}{
		"its own":                               {"mine", "id-1", string(mine), mine, true},
		"its own, the label names another's":    {"mine", "id-1", string(elsewhere), mine, true},
		"another container of the name":         {"mine", "id-9", string(mine), mine, false},
		"in another state directory":            {"elsewhere", "id-2", string(elsewhere), elsewhere, true},
		"a label that names another's Home":     {"elsewhere", "id-9", string(elsewhere), own.Home("elsewhere"), false},
		"a Home whose container is not known":   {"made", "id-9", string(made), own.Home("made"), false},
		"a container without an id":             {"made", "", string(made), own.Home("made"), false},
		"a label that names any directory":      {"etc", "id-9", "/etc", own.Home("etc"), false},
		"a label that names a relative path":    {"etc", "id-9", "workspaces/etc", own.Home("etc"), false},
		"a label that is not the cleanest path": {"elsewhere", "id-9", other.Dir() + "/../workspaces/elsewhere", own.Home("elsewhere"), false},
	} {
		labels := map[string]string{labelName: string(c.name), labelOwner: "7", labelSpec: "{}", labelHome: c.label}
		m, err := e.parseLabels("", "/keyway-7-"+string(c.name), labels)
		if err != nil {
			t.Fatal(err)
		}
		m.id = c.id
		e.recall(&m, labels)
		if m.home != c.home || (m.rec.HostKey != "") != c.trusts {
			t.Errorf("%s: Home %s, trusted %v; want %s, %v", what, m.home, m.rec.HostKey != "", c.home, c.trusts)
		}
	}
}

// TestPrivileges checks the default privileges of a container, and the changes by options.
func TestPrivileges(t *testing.T) {
	e := &Engine{client: nobody(t), homes: engine.HomesIn("/root"), guest: engine.Guest{Dir: "/guest"}}
	h := e.hostConfig(keyway.Spec{Name: "x"}, modeBind, gpuOrder{})
	if !slices.Equal(h.SecurityOpt, []string{"no-new-privileges"}) || !slices.Equal(h.CapDrop, []string{"AUDIT_WRITE", "MKNOD", "NET_RAW"}) ||
		len(h.CapAdd) != 0 || h.PidsLimit == nil || *h.PidsLimit != 32768 || h.Privileged {
		t.Errorf("by default: %v, drop %v, add %v, %v pids", h.SecurityOpt, h.CapDrop, h.CapAdd, h.PidsLimit)
	}
	if !slices.ContainsFunc(h.Mounts, func(m mount.Mount) bool { return m.Target == keyway.GuestHome.Bin() && m.ReadOnly }) {
		t.Errorf("the guest program can be written to: %+v", h.Mounts)
	}
	h = e.hostConfig(keyway.Spec{
		Name: "x", Resources: keyway.Resources{PidsLimit: -1},
		Process: keyway.Process{NewPrivileges: true, CapAdd: []string{"NET_RAW", "SYS_PTRACE"}},
	}, modeExec, gpuOrder{})
	if len(h.SecurityOpt) != 0 || !slices.Equal(h.CapDrop, []string{"AUDIT_WRITE", "MKNOD"}) ||
		!slices.Equal(h.CapAdd, []string{"NET_RAW", "SYS_PTRACE"}) || *h.PidsLimit != -1 {
		t.Errorf("as asked: %v, drop %v, add %v, %d pids", h.SecurityOpt, h.CapDrop, h.CapAdd, *h.PidsLimit)
	}
	if h = e.hostConfig(keyway.Spec{Name: "x", Process: keyway.Process{CapAdd: []string{"cap_all"}}}, modeBind, gpuOrder{}); len(h.CapDrop) != 0 {
		t.Errorf("with all: drop %v", h.CapDrop)
	}
}

// TestArchivesAreSticky checks the modes of the directories that a container's users share.
func TestArchivesAreSticky(t *testing.T) {
	guest := t.TempDir()
	if err := os.WriteFile(filepath.Join(guest, keyway.GuestProgram), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	e := &Engine{homes: engine.HomesIn("/root"), guest: engine.Guest{Dir: guest}}
	home, err := e.homeArchive(keyway.Spec{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	data, err := dataArchive(keyway.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{".keyway/": 0o1777, ".keyway/bin/": 0o755, ".keyway/authorized_keys": 0o644} {
		if got := modeIn(t, home, name); got != want {
			t.Errorf("%s: %#o, want %#o", name, got, want)
		}
	}
	if got := modeIn(t, data, ".keyway/data/"); got != 0o1777 {
		t.Errorf("data: %#o", got)
	}
}

func modeIn(t *testing.T, archive []byte, name string) int64 {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if h.Name == name {
			return h.Mode
		}
	}
}
