package gpu

import (
	"errors"
	"fmt"
	"io/fs"
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
		return keyway.Errorf(keyway.Usage, "the GPUs %s and the variable %s=%.200s both choose the GPUs", s.GPUs, VisibleDevices, value).
			Advise(keyway.EitherGPUs, VisibleDevices)
	case set && !none:
		return keyway.Errorf(keyway.Usage, "the variable %s=%.200s would give the workspace GPUs that are lent to nobody", VisibleDevices, value).
			Hint("leave the variable out").Advise(keyway.InsteadGPUs)
	}
	for _, d := range s.Devices {
		files, err := given(d.Source, local)
		if err != nil {
			return keyway.Errorf(keyway.Usage, "the device %.80s may give the workspace GPUs that are lent to nobody: %w", d.Source, err).
				Hint("name the device files that it needs, each for itself").Advise(keyway.InsteadGPUs)
		}
		if slices.ContainsFunc(files, deviceFile.MatchString) {
			return keyway.Errorf(keyway.Usage, "the device %.80s would give the workspace GPUs that are lent to nobody", d.Source).
				Hint("leave the device out").Advise(keyway.InsteadGPUs)
		}
	}
	return nil
}

// maxGiven bounds the files below a directory that are looked at.
const maxGiven = 1 << 13

// given returns the names of the files that an engine may give for a device: it follows links, and
// of a directory it gives every device below it. An engine that runs as root also follows and finds
// what this user may not see, so that is an error.
func given(source string, local bool) (all []string, err error) {
	const devices = "/dev"
	name := path.Clean(source)
	if local {
		real, err := filepath.EvalSymlinks(name)
		switch {
		case err == nil:
			name = filepath.ToSlash(real)
		case !errors.Is(err, fs.ErrNotExist): // which gives the engine's own error
			return nil, err
		}
	}
	if name == "/" || !local && name == devices {
		return []string{devices + "/nvidia0"}, nil // it may be there
	}
	if !local {
		return []string{name}, nil
	}
	err = filepath.WalkDir(name, func(file string, _ fs.DirEntry, err error) error {
		all = append(all, filepath.ToSlash(file))
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case len(all) > maxGiven:
			return fmt.Errorf("it has more than %d files", maxGiven)
		}
		return nil
	})
	return all, err
}
