package gpu

import (
	"path"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
)

// VisibleDevices is the variable that NVIDIA's container runtime obeys.
const VisibleDevices = "NVIDIA_VISIBLE_DEVICES"

// deviceFile is the device file of a GPU.
var deviceFile = lazyregexp.New(`^/dev/nvidia[0-9]+$`)

// NoOtherWay refuses a container that would get GPUs beside those that are lent to it: by the
// variable that NVIDIA's runtime obeys, or as device files. Others would be lent them, too.
func NoOtherWay(s keyway.Spec) error {
	value, set := s.Env[VisibleDevices]
	switch none := value == "" || value == "void" || value == "none"; {
	case set && !s.GPUs.None():
		return keyway.Errorf(keyway.Usage, "the GPUs %s and the variable %s=%.200s both say which GPUs there are", s.GPUs, VisibleDevices, value).
			Advise(keyway.EitherGPUs, VisibleDevices)
	case set && !none:
		return keyway.Errorf(keyway.Usage, "the variable %s=%.200s would give the workspace GPUs that are lent to nobody", VisibleDevices, value).
			Hint("leave the variable out").Advise(keyway.InsteadGPUs)
	}
	for _, d := range s.Devices {
		if deviceFile.MatchString(path.Clean(d.Source)) {
			return keyway.Errorf(keyway.Usage, "the device %.80s is a GPU that would be lent to nobody", d.Source).
				Hint("leave the device out").Advise(keyway.InsteadGPUs)
		}
	}
	return nil
}
