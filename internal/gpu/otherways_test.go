package gpu

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// TestNoOtherWay checks that a container has only the GPUs that are lent to it.
func TestNoOtherWay(t *testing.T) {
	one := keyway.GPUs{Count: 1}
	variable := func(g keyway.GPUs, value string) keyway.Spec {
		return keyway.Spec{Resources: keyway.Resources{GPUs: g}, Process: keyway.Process{Env: map[string]string{VisibleDevices: value}}}
	}
	device := func(path string) keyway.Spec {
		return keyway.Spec{Resources: keyway.Resources{GPUs: one, Devices: []keyway.Device{{Source: "/dev/fuse"}, {Source: path, Target: "/dev/x"}}}}
	}
	for _, c := range []struct {
		spec keyway.Spec
		says string // empty: it is taken
	}{
		{keyway.Spec{}, ""}, {keyway.Spec{Resources: keyway.Resources{GPUs: one}}, ""},
		{variable(keyway.GPUs{}, "void"), ""}, {variable(keyway.GPUs{}, "none"), ""}, {variable(keyway.GPUs{}, ""), ""},
		{variable(keyway.GPUs{}, "all"), "lent to nobody"}, {variable(keyway.GPUs{}, "0"), "lent to nobody"}, {variable(keyway.GPUs{}, "GPU-1"), "lent to nobody"},
		{variable(one, "all"), "both choose"}, {variable(one, "void"), "both choose"},
		{device("/dev/nvidiactl"), ""}, {device("/dev/nvidia-uvm"), ""},
		{device("/dev/nvidia0"), "lent to nobody"}, {device("/dev/../dev/nvidia12"), "lent to nobody"},
		{device("/dev/char/195:0"), "lent to nobody"}, {device("/dev/char/195:200"), "lent to nobody"},
		{device("/dev/char/195:255"), ""}, {device("/dev/char/10:229"), ""},
		{device("/dev"), "lent to nobody"}, {device("/"), "lent to nobody"}, {device("/dev/dri"), ""},
	} {
		err := NoOtherWay(c.spec, false)
		if (err == nil) != (c.says == "") || err != nil && (!keyway.Is(err, keyway.Usage) || !strings.Contains(err.Error(), c.says) || keyway.AsError(err).Help() == "") {
			t.Errorf("%+v: %v, want %q", c.spec, err, c.says)
		}
	}
}

// TestNoOtherName checks that a link to a GPU counts as a GPU, and so does a directory with one
// below it. A file that cannot be examined may be one.
func TestNoOtherName(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"gpus/nvidia0", "others/nvidiactl", "driver/dev/nvidia0", "driver/dev/fuse", "some/dev/fuse"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"195:0": "gpus/nvidia0", "195:255": "others/nvidiactl", "all": "gpus", "none": "others", "loop": "loop", "gone": "absent"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	many := filepath.Join(dir, "many")
	if err := os.Mkdir(many, 0o700); err != nil {
		t.Fatal(err)
	}
	for n := range maxGiven {
		if err := os.Symlink("none", filepath.Join(many, strconv.Itoa(n))); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{
		"195:0": true, "195:255": false, "all": true, "none": false, "gpus": true, "others": false, "absent": false, "gone": false,
		"driver": true, "driver/dev/fuse": false, "some": false, "loop": true, "others/nvidiactl/x": true, "many": true,
	} {
		s := keyway.Spec{Resources: keyway.Resources{Devices: []keyway.Device{{Source: filepath.Join(dir, name)}}}}
		if err := NoOtherWay(s, true); keyway.Is(err, keyway.Usage) != want {
			t.Errorf("%s: %v, want a refusal: %t", name, err, want)
		}
	}
}
