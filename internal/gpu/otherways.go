package gpu

import (
	"os"
	"path"
	"path/filepath"
	"slices"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
)

// VisibleDevices is the variable that NVIDIA's container runtime obeys.
const VisibleDevices = "NVIDIA_VISIBLE_DEVICES"

// deviceFile matches the device file of a GPU, in whichever directory, and its name by NVIDIA's
// major number and its own. The minor numbers 254 and 255 are no GPUs.
var deviceFile = lazyregexp.New(`/(nvidia[0-9]+|char/195:(1?[0-9]{1,2}|2[0-4][0-9]|25[0-3]))$`)

// NoOtherWay refuses a container that would get GPUs beside those that are lent to it: by the
// variable that NVIDIA's runtime obeys, or as device files. Others would be lent them, too. local
// means that the device files are this machine's.
func NoOtherWay(s keyway.Spec, local bool) error {
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
		if slices.ContainsFunc(given(d.Source, local), deviceFile.MatchString) {
			return keyway.Errorf(keyway.Usage, "the device %.80s would give the workspace GPUs that are lent to nobody", d.Source).
				Hint("leave the device out").Advise(keyway.InsteadGPUs)
		}
	}
	return nil
}

// given returns the names of the files that an engine gives for a device: it follows links, and of
// a directory it gives every device in it.
func given(source string, local bool) []string {
	const devices = "/dev"
	name := path.Clean(source)
	if real, err := filepath.EvalSymlinks(name); local && err == nil {
		name = filepath.ToSlash(real)
	}
	if name == "/" {
		name = devices
	}
	if st, err := os.Stat(name); !local || err != nil || !st.IsDir() { // nothing else is opened
		if name == devices {
			name += "/nvidia0" // it may be there
		}
		return []string{name}
	}
	var all []string
	entries, _ := os.ReadDir(name) // what cannot be read gives the engine's own error
	for _, e := range entries {
		all = append(all, path.Join(name, e.Name()))
	}
	return all
}
