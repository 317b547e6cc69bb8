//go:build linux

package enginetest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// templateFields returns the fields that templates have added.
func templateFields() []field {
	return slices.Concat(originFields(), memoryAndVolumes(), ownerFields(), []field{
		{
			leaves: []string{"Resources.Devices.Source", "Resources.Devices.Target", "Resources.Devices.Access"}, option: "device",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) {
				spec.Devices = []keyway.Device{{Source: "/dev/kmsg", Target: "/dev/asked", Access: "r"}}
			},
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				devices, err := s.Try(t, w, "ls /dev")
				if err != nil || !slices.Contains(strings.Fields(devices), "asked") {
					return fmt.Errorf("/dev has no such device, %v:\n%s", err, devices)
				}
				return nil
			},
		},
		{
			leaves: []string{"Files.Secrets.Name", "Files.Secrets.Value"}, option: "secret",
			ask: func(_ *testing.T, s Subject, spec *keyway.Spec) {
				s.other(spec)
				spec.Secrets = []keyway.Secret{{Name: "token", Value: []byte("s3cret")}}
			},
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				return want(t, s, w, "cat "+keyway.SecretsDir+"/token", "s3cret")
			},
		},
	})
}

// originFields returns the fields that List reports, which is their only effect.
func originFields() []field {
	told := func(leaf string, set func(*keyway.Origin), is func(keyway.Origin) bool) field {
		return field{
			leaves: []string{"Origin." + leaf}, option: strings.ToLower(leaf),
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) { set(&spec.Origin) },
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				if now, _ := s.State(t, w.Name); !is(now.Origin) {
					return fmt.Errorf("it is listed with %+v", now.Origin)
				}
				return nil
			},
		}
	}
	return []field{
		told("Template", func(o *keyway.Origin) { o.Template = "pytorch" }, func(o keyway.Origin) bool { return o.Template == "pytorch" }),
		told("Published", func(o *keyway.Origin) { o.Template, o.Published = "pytorch", true }, func(o keyway.Origin) bool { return o.Published }),
		told("Ports", func(o *keyway.Origin) { o.Ports = []int{8888} }, func(o keyway.Origin) bool { return slices.Equal(o.Ports, []int{8888}) }),
		told("Labels", func(o *keyway.Origin) { o.Labels = map[string]string{"team": "vision"} },
			func(o keyway.Origin) bool { return maps.Equal(o.Labels, map[string]string{"team": "vision"}) }),
	}
}

// wantMounted returns an error unless a file system of that type is there, with the
// option, and can be written to.
func wantMounted(t *testing.T, s Subject, w keyway.Workspace, target, fsType, option string) error {
	mounts, err := s.Try(t, w, "cat /proc/mounts")
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) > 3 && f[1] == target && (fsType == "" || f[2] == fsType) && (option == "" || slices.Contains(strings.Split(f[3], ","), option)) {
			return want(t, s, w, "write "+target+"/new text", "")
		}
	}
	return fmt.Errorf("%s is not mounted as %s with %s, %v:\n%s", target, fsType, option, err, mounts)
}

func memoryAndVolumes() []field {
	return []field{
		{
			leaves: []string{"Files.Mounts.Kind", "Files.Mounts.Size"}, option: "tmpfs",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) {
				spec.Mounts = []keyway.Mount{{Kind: keyway.MountTmpfs, Target: "/mnt/memory", Size: 8 << 20}}
			},
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				return wantMounted(t, s, w, "/mnt/memory", "tmpfs", "size=8192k")
			},
		},
		{
			leaves: []string{"Files.Mounts.Kind", "Files.Mounts.Source"}, option: "volume",
			ask: func(t *testing.T, s Subject, spec *keyway.Spec) {
				s.dropVolume(t, "asked")
				s.other(spec) // whose volume it is to be
				spec.Mounts = []keyway.Mount{{Kind: keyway.MountVolume, Source: "asked", Target: "/mnt/volume"}}
			},
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				return wantMounted(t, s, w, "/mnt/volume", "", "rw")
			},
		},
		{
			leaves: []string{"Files.HomeVolume"}, option: "home-volume",
			ask: func(t *testing.T, s Subject, spec *keyway.Spec) {
				s.dropVolume(t, "home")
				s.other(spec)
				spec.HomeVolume = "home"
			},
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				home, err := s.Try(t, w, "env HOME")
				if err != nil {
					return err
				}
				return wantMounted(t, s, w, home, "", "rw")
			},
		},
	}
}

// other has the workspace run as a user other than root and the test's, if the engine can.
func (s Subject) other(spec *keyway.Spec) {
	if s.Walled {
		spec.User = "12345:54321"
	}
}

// dropVolume removes a volume when the test ends.
func (s Subject) dropVolume(t *testing.T, name string) {
	keeper, ok := s.Engine.(engine.VolumeKeeper)
	if !ok {
		return
	}
	t.Cleanup(func() {
		if err := keeper.RemoveVolume(Context(t), name); err != nil {
			t.Error(Full(err))
		}
	})
}

// ownerFields checks that files on mounts belong to the user that made the workspace.
func ownerFields() []field {
	var dir string
	return []field{{
		leaves: []string{"Process.Caller"}, option: "as-me", always: true, // these tests are root as a rule, as images are
		ask: func(t *testing.T, s Subject, spec *keyway.Spec) {
			dir = t.TempDir()
			spec.Caller = true
			target := "/mnt/asked"
			if !s.Walled {
				target = dir
			}
			spec.Mounts = []keyway.Mount{{Source: dir, Target: target}}
		},
		see: func(t *testing.T, s Subject, w keyway.Workspace) error {
			target := "/mnt/asked"
			if !s.Walled {
				target = dir
			}
			if err := want(t, s, w, "write "+target+"/mine text", ""); err != nil {
				return err
			}
			st, err := os.Stat(filepath.Join(dir, "mine"))
			if err != nil {
				return err
			}
			if owner := st.Sys().(*syscall.Stat_t); int(owner.Uid) != os.Getuid() {
				return errors.New("its files belong to the uid " + fmt.Sprint(owner.Uid))
			}
			return nil
		},
	}}
}
