package main

import (
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"keyway/internal/keyway"
)

// limitOptions holds docker run's options that limit a workspace's resources.
type limitOptions struct {
	cpus, memory, shm string
	ulimits           []string
}

func (o *limitOptions) declare(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.cpus, "cpus", "", "limit it to the time of `N` processors, such as 1.5")
	f.StringVar(&o.memory, "memory", "", "limit its memory to `SIZE`, such as 64gb")
	f.StringVar(&o.shm, "shm-size", "", "set the size of /dev/shm to `SIZE`, such as 16gb")
	f.StringArrayVar(&o.ulimits, "ulimit", nil, "set a limit of each process, as `NAME=SOFT[:HARD]`, such as memlock=-1; may be repeated")
}

// add overrides the values of s by those of the options.
func (o limitOptions) add(s *keyway.Spec) (err error) {
	if o.cpus != "" {
		if s.CPUs, err = strconv.ParseFloat(o.cpus, 64); err != nil || !(s.CPUs >= 0.01 && s.CPUs < 1<<16) {
			return keyway.Errorf(keyway.Usage, "--cpus %s: give a number of processors, at least 0.01", o.cpus).Hint("for example: --cpus 1.5")
		}
	}
	for _, size := range []struct {
		flag, text, example string
		to                  *int64
	}{{"--memory", o.memory, "64gb", &s.Memory}, {"--shm-size", o.shm, "16gb", &s.ShmSize}} {
		n, err := parseSize(size.flag, size.text, size.example)
		if err != nil {
			return err
		}
		*size.to = cmp.Or(n, *size.to)
	}
	limits, err := o.parseUlimits()
	if err != nil {
		return err
	}
	own := slices.DeleteFunc(slices.Clone(s.Ulimits), func(u keyway.Ulimit) bool {
		return slices.ContainsFunc(limits, func(l keyway.Ulimit) bool { return l.Name == u.Name })
	})
	s.Ulimits = append(own, limits...)
	return nil
}

func (o limitOptions) parseUlimits() (limits []keyway.Ulimit, err error) {
	for _, text := range o.ulimits {
		u, err := units.ParseUlimit(text)
		if err != nil {
			return nil, keyway.Errorf(keyway.Usage, "--ulimit %s: %w", text, err).
				Hint("for example: --ulimit memlock=-1 or --ulimit nofile=65536:1048576; see which there are: man 2 setrlimit")
		}
		limits = append(limits, keyway.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	return limits, nil
}

// parseSize parses a size in bytes, with or without a unit. An empty text is 0.
func parseSize(flag, text, example string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := units.RAMInBytes(text)
	if err != nil || n <= 0 {
		return 0, keyway.Errorf(keyway.Usage, "%s %s is not a size", flag, text).Hint("for example: %s %s", flag, example)
	}
	return n, nil
}

// parseEnv parses the values of -e. Each is NAME=VALUE, or NAME for the value that the variable
// has in keyway's own environment.
func parseEnv(given []string) (map[string]string, error) {
	var env map[string]string
	for _, text := range given {
		name, value, whole := strings.Cut(text, "=")
		if name == "" {
			return nil, keyway.Errorf(keyway.Usage, "%q is not NAME=VALUE", text).Hint("for example: -e HF_HOME=/mnt/data/hf")
		}
		if !whole {
			if value, whole = os.LookupEnv(name); !whole {
				return nil, keyway.Errorf(keyway.Usage, "-e %s: there is no variable %s in your environment to take the value from", name, name).
					Hint("set it: export %s=VALUE\nor give the value (NAME=VALUE): -e %[1]s=VALUE", name)
			}
		}
		if env == nil {
			env = map[string]string{}
		}
		env[name] = value
	}
	return env, nil
}
