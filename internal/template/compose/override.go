package compose

import (
	"math"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"keyway/internal/catalogue"
	"keyway/internal/template/document"
)

// freeWords lists the fields that have no limit; true leaves them to the user.
var freeWords = map[string]string{
	"command": catalogue.FreeCommand, "working_dir": catalogue.FreeWorkdir, "labels": catalogue.FreeLabels, "secrets": catalogue.FreeSecrets, "user": catalogue.FreeUser,
}

// override reads x-keyway.override into o.
func (d source) override(n *yaml.Node, o *catalogue.Override) error {
	n = document.Resolve(n)
	if n.Kind != yaml.MappingNode {
		return d.Errorf(n, "x-keyway.override has fields with limits").Hint("for example: override: {gpus: 4, shm_size: 64gb, environment: [SEED]}")
	}
	for _, p := range document.Pairs(n) {
		if problem := limit(o, p.Key.Value, document.Resolve(p.Value)); problem != "" {
			return d.Errorf(p.Key, "x-keyway.override.%s cannot have this value", p.Key.Value).Hint("%s", problem)
		}
	}
	return nil
}

// limit sets one field of o. If the value is not permitted, problem says what is.
func limit(o *catalogue.Override, name string, v *yaml.Node) (problem string) {
	number := func(most float64) float64 {
		f, err := strconv.ParseFloat(v.Value, 64)
		if v.Kind != yaml.ScalarNode || err != nil || !(f > 0 && f <= most) {
			problem = "the most that may be asked for, a number above 0"
			return 0
		}
		return f
	}
	whole := func(most int64) int64 {
		f := number(float64(most))
		if f != math.Trunc(f) {
			problem = "the most that may be asked for, a whole number"
		}
		return int64(f)
	}
	bytes := func() int64 {
		size, err := parseSize(v.Value)
		if v.Kind != yaml.ScalarNode || err != nil {
			problem = "the most that may be asked for, a size such as 64gb"
		}
		return size
	}
	list := func() (all []string) {
		if err := v.Decode(&all); err != nil {
			problem = "a list, such as [SEED, \"HF_*\"]"
		}
		return all
	}
	switch name {
	case "gpus":
		o.GPUs = int(whole(maxGPUs))
	case "cpus":
		o.CPUs = number(1 << 16)
	case "mem_limit":
		o.Memory = bytes()
	case "shm_size":
		o.ShmSize = bytes()
	case "tmpfs":
		o.Tmpfs = bytes()
	case "pids_limit":
		o.PidsLimit = whole(1 << 31)
	case "environment":
		o.Env = list()
	case "volumes":
		o.Volumes = list()
	default:
		free := freeWords[name]
		o.Free = slices.DeleteFunc(o.Free, func(f string) bool { return f == free })
		switch {
		case v.Value == "true":
			o.Free = append(o.Free, free)
		case v.Value != "false":
			problem = "true, which leaves it to the user, or false"
		}
	}
	return problem
}
