package keyway

import (
	"math"
	"strings"
	"testing"
)

// TestOneThingAtATarget checks that two things at one target are refused, because one would hide
// the other.
func TestOneThingAtATarget(t *testing.T) {
	secret := []Secret{{Name: "t"}}
	for what, c := range map[string]struct {
		s    Spec
		says string
	}{
		"mounts":               {Spec{Files: Files{Mounts: []Mount{{Source: "/a", Target: "/x"}, {Kind: MountTmpfs, Target: "/x/"}}}}, "at /x: another mount and a mount"},
		"one below another":    {Spec{Files: Files{Mounts: []Mount{{Source: "/a", Target: "/x/y"}, {Source: "/b", Target: "/x"}}}}, ""},
		"a secret":             {Spec{Files: Files{Secrets: secret, Mounts: []Mount{{Source: "/a", Target: "/run/secrets/t"}}}}, "at /run/secrets/t: a secret and"},
		"the secrets":          {Spec{Files: Files{Secrets: secret, Mounts: []Mount{{Source: "/a", Target: "/run/secrets"}}}}, "at /run/secrets: the secrets and"},
		"no secrets":           {Spec{Files: Files{Mounts: []Mount{{Source: "/a", Target: "/run/secrets"}}}}, ""},
		"above the secrets":    {Spec{Files: Files{Secrets: secret, Mounts: []Mount{{Kind: MountTmpfs, Target: "/run"}}}}, ""},
		"shared memory":        {Spec{Resources: Resources{ShmSize: 1}, Files: Files{Mounts: []Mount{{Source: "/dev/shm", Target: "/dev/shm"}}}}, "at /dev/shm: shared memory of a size and"},
		"the place's memory":   {Spec{Files: Files{Mounts: []Mount{{Source: "/dev/shm", Target: "/dev/shm"}}}}, ""},
		"the home":             {Spec{Files: Files{HomeVolume: "h", Mounts: []Mount{{Source: "/a", Target: "/home/keyway"}}}}, "at /home/keyway: the volume for the home directory and"},
		"the home elsewhere":   {Spec{Files: Files{HomeVolume: "h", Mounts: []Mount{{Source: "/a", Target: "/h"}}}, Process: Process{Env: map[string]string{"HOME": "/h/"}}}, "at /h: the volume"},
		"two devices":          {Spec{Resources: Resources{Devices: []Device{{"/dev/a", "/dev/a", "r"}, {"/dev/b", "/dev/a/", "r"}}}}, "two devices are asked for at /dev/a"},
		"one device, two ways": {Spec{Resources: Resources{Devices: []Device{{"/dev/a", "/dev/a", "r"}, {"/dev/a", "/dev/b", "r"}}}}, ""},
	} {
		c.s.Name, c.s.AuthorizedKeys = "x", []string{"ssh-ed25519 AAAA"}
		err := c.s.Validate()
		if (err == nil) != (c.says == "") || err != nil && (!Is(err, Usage) || !strings.Contains(err.Error(), c.says) || AsError(err).Help() == "") {
			t.Errorf("%s: %v, want %q", what, err, c.says)
		}
	}
}

func TestLimitsAreChecked(t *testing.T) {
	nofile := Ulimit{Name: "nofile", Soft: 1, Hard: 2}
	for _, c := range []struct {
		r   Resources
		bad bool
	}{
		{Resources{}, false},
		{Resources{CPUs: 0.5, Memory: 1 << 40, Ulimits: []Ulimit{nofile, {"memlock", -1, -1}, {"core", 0, -1}}}, false},
		{Resources{CPUs: -1}, true},
		{Resources{CPUs: math.NaN()}, true},
		{Resources{CPUs: math.Inf(1)}, true},
		{Resources{Memory: -1}, true},
		{Resources{ShmSize: -1}, true},
		{Resources{PidsLimit: -2}, true},
		{Resources{GPUs: GPUs{Count: -1}}, true}, // from the network, or a template's file
		{Resources{GPUs: GPUs{Count: maxGPUs + 1}}, true},
		{Resources{Ulimits: []Ulimit{nofile, nofile}}, true},
		{Resources{Ulimits: []Ulimit{{"nofile", 3, 2}}}, true},
		{Resources{Ulimits: []Ulimit{{"nofile", -1, 2}}}, true},
		{Resources{Ulimits: []Ulimit{{"nofile", -2, -2}}}, true},
		{Resources{Ulimits: []Ulimit{{"", 1, 1}}}, true},
		{Resources{Ulimits: []Ulimit{{"no file", 1, 1}}}, true},
		{Resources{Ulimits: make([]Ulimit, maxUlimits+1)}, true},
	} {
		s := Spec{Name: "x", Access: Access{AuthorizedKeys: []string{"ssh-ed25519 AAAA"}}, Resources: c.r}
		if err := s.Validate(); (err != nil) != c.bad || c.bad && !Is(err, Usage) {
			t.Errorf("%+v: %v", c.r, err)
		}
	}
}
