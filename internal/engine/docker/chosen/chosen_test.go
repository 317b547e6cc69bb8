package chosen

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/moby/moby/api/types/system"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
)

func TestCallersAreWhoTheyAreAtThePlace(t *testing.T) {
	for want, security := range map[string][]string{
		"1000:100": {"name=seccomp,profile=default", "name=cgroupns"}, "0:0": {"name=seccomp", "name=rootless"},
	} {
		rootless, err := (&daemon.Client{}).Rootless(t.Context(), daemon.Identity{}, system.Info{SecurityOptions: security})
		if err != nil {
			t.Fatal(err)
		}
		if got := caller(daemon.Identity{Rootless: rootless}, 1000, 100); got != want {
			t.Errorf("with %q: %s", security, got)
		}
	}
}

func TestDefaultShm(t *testing.T) {
	for _, c := range []struct{ total, limit, want int64 }{{64 << 30, 0, 32 << 30}, {64 << 30, 8 << 30, 4 << 30}, {8 << 30, 64 << 30, 4 << 30}} {
		if got := defaultShm(c.total, c.limit); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// TestAMountedShmHasNoSize checks that the daemon gets no size for a /dev/shm that a mount
// replaces.
func TestAMountedShmHasNoSize(t *testing.T) {
	s := keyway.Spec{Origin: keyway.Origin{Template: "t"}, Files: keyway.Files{Mounts: []keyway.Mount{{Source: "/dev/shm", Target: "/dev/shm/"}}}}
	if got, _ := Complete(s, daemon.Identity{}, true, system.Info{MemTotal: 64 << 30}, nil); got.ShmSize != 0 {
		t.Errorf("%d bytes", got.ShmSize)
	}
}

// TestWhatWasAskedIsNotTakenForChosen checks that a request for exactly the place's own choice
// counts as a request.
func TestWhatWasAskedIsNotTakenForChosen(t *testing.T) {
	host, d := system.Info{MemTotal: 64 << 30}, daemon.Identity{}
	for what, s := range map[string]keyway.Spec{
		"left to the place": {Resources: keyway.Resources{Memory: 32 << 30}, Process: keyway.Process{Caller: true}},
		"asked for":         {Resources: keyway.Resources{Memory: 32 << 30, ShmSize: 16 << 30}, Process: keyway.Process{User: caller(d, os.Getuid(), os.Getgid())}},
	} {
		s.Template = "t"
		made, chosen := Complete(s, d, true, host, nil)
		data, err := json.Marshal(engine.Record{Chosen: chosen})
		var rec engine.Record
		if err != nil || json.Unmarshal(data, &rec) != nil {
			t.Fatal(err)
		}
		env, want := Asked(made, rec.Chosen, host, d), s.Environment()
		if made.ShmSize != 16<<30 || env.Shm != want.Shm || env.User != want.User {
			t.Errorf("%s: %d bytes, user %s; want %d, %s", what, env.Shm, env.User, want.Shm, want.User)
		}
		if old := Asked(made, nil, host, d); old.Shm != 0 || old.User != keyway.UserCaller {
			t.Errorf("%s, of an older keyway: %d bytes, user %s", what, old.Shm, old.User)
		}
	}
}

// TestLoweredLimitsAreKnown checks that the environment has both values of a template's limit that
// an engine without root has lowered: the present and the requested one.
func TestLoweredLimitsAreKnown(t *testing.T) {
	s := keyway.Spec{Origin: keyway.Origin{Template: "t"}, Resources: keyway.Resources{Ulimits: []keyway.Ulimit{{Name: "nofile", Soft: 1 << 40, Hard: 1 << 40}, {Name: "core"}}}}
	want := s.Environment().Options[keyway.OptionUlimits]
	for _, rootless := range []bool{true, false} {
		said := 0
		d := daemon.Identity{Rootless: rootless}
		made, chosen := Complete(s, d, true, system.Info{}, func(keyway.Progress) { said++ })
		env := Asked(made, chosen, system.Info{}, d)
		if has := env.Options[keyway.OptionUlimits]; (has != want) != rootless || (env.AskedUlimits == want) != rootless || (said > 0) != rootless {
			t.Errorf("rootless %t: %s, asked for was %q; %d times told", rootless, has, env.AskedUlimits, said)
		}
	}
}
