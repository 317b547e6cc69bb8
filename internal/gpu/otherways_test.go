package gpu

import (
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// TestNoOtherWay: a container has no GPU but those that are lent to it.
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
		{variable(one, "all"), "both say"}, {variable(one, "void"), "both say"},
		{device("/dev/nvidiactl"), ""}, {device("/dev/nvidia-uvm"), ""},
		{device("/dev/nvidia0"), "lent to nobody"}, {device("/dev/../dev/nvidia12"), "lent to nobody"},
	} {
		err := NoOtherWay(c.spec)
		if (err == nil) != (c.says == "") || err != nil && (!keyway.Is(err, keyway.Usage) || !strings.Contains(err.Error(), c.says) || keyway.AsError(err).Help() == "") {
			t.Errorf("%+v: %v, want %q", c.spec, err, c.says)
		}
	}
}
