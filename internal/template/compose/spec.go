package compose

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
	"keyway/internal/template/document"
	"keyway/internal/template/fields"
)

// maxPorts bounds the ports that a template offers.
const maxPorts = 64

const fewerPorts = "name those that people open; any other can be opened as well"

// converter converts what compose-go has read to a Spec.
type converter struct {
	source
	service loaded
	name    string
	env     environment
	local   bool // the place is this machine
}

func (c converter) errorf(fieldName, format string, args ...any) *keyway.Error {
	return c.source.Errorf(document.At(c.Root, []string{"services", c.name, fieldName}), "%s: %s", fieldName, fmt.Sprintf(format, args...))
}

func (c converter) spec() (s keyway.Spec, err error) {
	s.Image = c.service.Image
	s.Command = append(slices.Clone([]string(c.service.Entrypoint)), c.service.Command...)
	s.User, s.Workdir, s.ReadOnly = c.service.User, c.service.WorkingDir, c.service.ReadOnly
	s.ShmSize, s.PidsLimit = int64(c.service.ShmSize), c.service.PidsLimit
	s.CapAdd, s.Labels = c.service.CapAdd, c.service.Labels
	for _, step := range []func(*keyway.Spec) error{c.limits, c.gpus, c.devices, c.ulimits, c.mounts, c.tmpfs, c.secrets, c.environment, c.ports, c.security} {
		if err := step(&s); err != nil {
			return s, err
		}
	}
	return s, nil
}

// sameArch maps names of architectures to those that Go has for them.
var sameArch = map[string]string{"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386"}

// platformForm matches OS, ARCH, OS/ARCH and OS/ARCH/VARIANT.
var platformForm = lazyregexp.New(`^[a-z0-9_-]+(/[a-z0-9_-]+(/v[0-9]+)?)?$`)

// architecture converts platform to an architecture. A variant is not compared: places do not tell theirs.
func (c converter) architecture() (string, error) {
	given := strings.ToLower(c.service.Platform) // as containerd reads it
	if given == "" {
		return "", nil
	}
	os, arch, both := strings.Cut(given, "/")
	arch, _, _ = strings.Cut(arch, "/")
	switch {
	case !platformForm.MatchString(given):
		return "", c.errorf("platform", "%.40q is no platform", given).Hint("for example: linux/amd64")
	case os == "linux":
	case !both: // the architecture alone
		arch = os
	default:
		return "", c.errorf("platform", "a workspace's containers are of linux, not %.40s", os).Hint("for example: linux/amd64")
	}
	return cmp.Or(sameArch[arch], arch), nil
}

func (c converter) limits(s *keyway.Spec) error {
	s.CPUs, s.Memory = round(c.service.CPUS), int64(c.service.MemLimit)
	if c.service.Deploy == nil || c.service.Deploy.Resources.Limits == nil {
		return nil
	}
	l := c.service.Deploy.Resources.Limits
	for _, twice := range []struct {
		name     string
		own, too float64
	}{
		{"cpus", s.CPUs, round(float32(l.NanoCPUs))}, {"mem_limit", float64(s.Memory), float64(l.MemoryBytes)}, {"pids_limit", float64(s.PidsLimit), float64(l.Pids)},
	} {
		if twice.own != 0 && twice.too != 0 && twice.own != twice.too {
			return c.errorf(twice.name, "deploy.resources.limits says otherwise").Hint("keep one of the two")
		}
	}
	s.CPUs = cmp.Or(s.CPUs, round(float32(l.NanoCPUs)))
	s.Memory = cmp.Or(s.Memory, int64(l.MemoryBytes))
	s.PidsLimit = cmp.Or(s.PidsLimit, l.Pids)
	return nil
}

// round returns a number of processors as it was written: compose-go stores it in single
// precision.
func round(cpus float32) float64 { return math.Round(float64(cpus)*1e4) / 1e4 }

// gpus converts gpus, deploy and devices, of which only one may request GPUs.
func (c converter) gpus(s *keyway.Spec) error {
	requests, name := c.service.Gpus, "gpus"
	if d := c.service.Deploy; d != nil && d.Resources.Reservations != nil && len(d.Resources.Reservations.Devices) > 0 {
		if len(requests) > 0 {
			return c.errorf("gpus", "deploy asks for devices, too").Hint("keep one of the two")
		}
		requests, name = d.Resources.Reservations.Devices, "deploy"
	}
	for _, r := range requests {
		if err := c.request(&s.GPUs, r, name); err != nil {
			return err
		}
	}
	return nil
}

func (c converter) request(g *keyway.GPUs, r types.DeviceRequest, name string) error {
	isGPU := name == "gpus" || slices.ContainsFunc(r.Capabilities, func(w string) bool { return w == "gpu" || w == "nvidia" || w == "compute" })
	more := slices.DeleteFunc(slices.Clone(r.Capabilities), func(w string) bool { return slices.Contains(keyway.GPUCapabilities, w) })
	switch {
	case !isGPU:
		return c.errorf(name, "the capabilities %q are no GPU's", r.Capabilities).Hint("for example: capabilities: [gpu]")
	case len(more) > 0:
		return c.errorf(name, "the capability %.40q is not asked for here", more[0]).
			Hint("possible are: %s\nhave the driver's other libraries by its variable: environment: {NVIDIA_DRIVER_CAPABILITIES: \"compute,utility,video\"}", strings.Join(keyway.GPUCapabilities, ", "))
	case r.Count < -1:
		return c.errorf(name, "%d GPUs cannot be asked for", r.Count).Hint("write a number of them, or: count: all")
	case r.Driver != "" && r.Driver != "nvidia" && r.Driver != "cdi":
		return c.errorf(name, "the driver %.40q gives no GPUs here", r.Driver).Hint("leave driver out, or write: driver: nvidia")
	case len(r.IDs) > 0 && r.Count != 0:
		return c.errorf(name, "count and device_ids exclude one another").Hint("keep one of the two")
	case !g.None():
		return c.errorf(name, "GPUs are asked for twice").Hint("write one request, with the sum as its count")
	}
	switch {
	case len(r.IDs) > 0:
		parsed, err := keyway.ParseGPUs("device=" + strings.Join(r.IDs, ",")) // of Docker's names, or CDI's
		if err != nil {
			return c.errorf(name, "%v", err).HelpOf(err)
		}
		*g = parsed
	case r.Count > 0 && r.Count <= maxGPUs:
		g.Count = int(r.Count)
	case r.Count > maxGPUs:
		return c.errorf(name, "%d GPUs are more than any place has", r.Count)
	case r.Count < 0: // all, for which Compose has no count
		g.All = true
	}
	return nil
}

// maxGPUs is the bound of keyway.ParseGPUs.
const maxGPUs = 1024

// devices converts devices: device files of the place, or GPUs by their CDI names.
func (c converter) devices(s *keyway.Spec) error {
	var gpus []string
	for _, d := range c.service.Devices {
		if id, ok := strings.CutPrefix(d.Source, keyway.CDIPrefix); ok {
			if d.Target != "" && d.Target != d.Source { // part of 0:1, which compose-go takes for the path in the container
				id += ":" + d.Target
			}
			gpus = append(gpus, id)
			continue
		}
		if !path.IsAbs(d.Source) {
			return c.errorf("devices", "%.80q is neither a GPU's CDI name nor a device file", d.Source).
				Hint("for example: nvidia.com/gpu=0, nvidia.com/gpu=all or /dev/fuse")
		}
		s.Devices = append(s.Devices, keyway.Device{Source: path.Clean(d.Source), Target: path.Clean(cmp.Or(d.Target, d.Source)), Access: cmp.Or(d.Permissions, "rwm")})
	}
	if len(gpus) == 0 {
		return nil
	}
	if !s.GPUs.None() {
		return c.errorf("devices", "GPUs are asked for twice").Hint("keep gpus, or the %s… names", keyway.CDIPrefix)
	}
	parsed, err := keyway.ParseGPUs("device=" + strings.Join(gpus, ","))
	if err != nil {
		return c.errorf("devices", "%v", err).HelpOf(err)
	}
	s.GPUs = parsed
	return nil
}

func (c converter) ulimits(s *keyway.Spec) error {
	for _, name := range slices.Sorted(maps.Keys(c.service.Ulimits)) {
		u := c.service.Ulimits[name]
		limit := keyway.Ulimit{Name: name, Soft: int64(u.Soft), Hard: int64(u.Hard)}
		if u.Single != 0 {
			limit.Soft, limit.Hard = int64(u.Single), int64(u.Single)
		}
		s.Ulimits = append(s.Ulimits, limit)
	}
	return nil
}

func (c converter) mounts(s *keyway.Spec) error {
	for _, v := range c.service.Volumes {
		m := keyway.Mount{Source: v.Source, Target: path.Clean(v.Target), ReadOnly: v.ReadOnly}
		switch {
		case v.Type == types.VolumeTypeBind && v.Source == "":
			return c.errorf("volumes", "the directory to mount at %.80s is missing", v.Target).Hint("name it: source: /data")
		case v.Type == types.VolumeTypeTmpfs && v.Source != "":
			return c.errorf("volumes", "the tmpfs at %.80s cannot have a source", v.Target).Hint("leave it out, or write: type: bind")
		case v.Type != types.VolumeTypeTmpfs && v.Tmpfs != nil:
			return c.errorf("volumes", "only a tmpfs has a size, and %.80s is none", v.Target).Hint("leave tmpfs out, or write: type: tmpfs")
		}
		switch v.Type {
		case types.VolumeTypeBind:
			source, err := c.directory(v.Source)
			if err != nil {
				return err
			}
			m.Source = source
		case types.VolumeTypeVolume:
			m.Kind = keyway.MountVolume
			if v.Source != "" {
				declared, ok := c.service.volumes[v.Source]
				if !ok && !c.Undeclared {
					return c.errorf("volumes", "there is no volume %.80q below the file's volumes", v.Source).
						Hint("add it: volumes: {%s: {}}\nor mount a directory of the place: /path:%s", v.Source, v.Target)
				}
				m.Source = cmp.Or(declared.Name, v.Source)
			}
		case types.VolumeTypeTmpfs:
			m.Kind, m.Source = keyway.MountTmpfs, ""
			if v.Tmpfs != nil {
				m.Size = int64(v.Tmpfs.Size)
			}
		default:
			return c.errorf("volumes", "a mount of the type %.40q is not possible", v.Type).Hint("possible are: bind, volume, tmpfs")
		}
		s.Mounts = append(s.Mounts, m)
	}
	return nil
}

// directory returns the directory to mount, which is one of the place.
func (c converter) directory(given string) (string, error) {
	if path.IsAbs(given) {
		return path.Clean(given), nil
	}
	if !c.local {
		return "", c.errorf("volumes", "%.80q is a directory of this laptop, and the workspace is at another place", given).
			Hint("write where the data is at the place: /data:TARGET").Advise(keyway.MakeHere)
	}
	if rest, ok := strings.CutPrefix(given, "~"); ok && (rest == "" || rest[0] == '/') {
		return filepath.Join(c.env.home, rest), nil
	}
	return filepath.Join(c.env.dir, given), nil
}

// tmpfs converts TARGET[:OPTIONS], the form of docker run --tmpfs.
func (c converter) tmpfs(s *keyway.Spec) error {
	for _, text := range c.service.Tmpfs {
		target, options, _ := strings.Cut(text, ":")
		m := keyway.Mount{Kind: keyway.MountTmpfs, Target: path.Clean(target)}
		for option := range strings.SplitSeq(options, ",") {
			size, ok := strings.CutPrefix(option, "size=")
			switch {
			case slices.Contains(fields.TmpfsOptions, option):
			case option == "ro":
				m.ReadOnly = true
			case ok:
				n, err := parseSize(size)
				if err != nil {
					return c.errorf("tmpfs", "the size %.40q is none", size).Hint("for example: /scratch:size=1g")
				}
				m.Size = n
			default:
				return c.errorf("tmpfs", "the option %.40q is not possible", option).Hint("possible is: size=SIZE")
			}
		}
		extended := func(other keyway.Mount) bool { return other.Kind == m.Kind && other.Target == m.Target }
		s.Mounts = append(slices.DeleteFunc(s.Mounts, extended), m)
	}
	return nil
}

func parseSize(text string) (int64, error) {
	var n types.UnitBytes
	if err := n.DecodeMapstructure(text); err != nil || n <= 0 {
		return 0, fmt.Errorf("%q is not a size", text)
	}
	return int64(n), nil
}

// ports converts the ports on which programs in the workspace are expected to listen. None is
// published; keyway open forwards them.
func (c converter) ports(s *keyway.Spec) error {
	add := func(name string, port uint64) error {
		if port == 0 || port > math.MaxUint16 {
			return c.errorf(name, "%d is no port", port)
		}
		if !slices.Contains(s.Ports, int(port)) {
			s.Ports = append(s.Ports, int(port))
		}
		if len(s.Ports) > maxPorts {
			return c.errorf(name, "more than %d ports", maxPorts).Hint(fewerPorts)
		}
		return nil
	}
	for _, p := range c.service.Ports {
		if p.Protocol != "" && p.Protocol != "tcp" {
			return c.errorf("ports", "the port %d is of %.20s, and ssh forwards tcp", p.Target, p.Protocol)
		}
		if err := add("ports", uint64(p.Target)); err != nil {
			return err
		}
	}
	for _, text := range c.service.Expose {
		text, _ = strings.CutSuffix(text, "/tcp")
		port, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return c.errorf("expose", "%.40q is no port", text)
		}
		if err := add("expose", port); err != nil {
			return err
		}
	}
	return nil
}

func (c converter) security(s *keyway.Spec) error {
	for _, option := range c.service.SecurityOpt {
		switch strings.ReplaceAll(option, "=", ":") {
		case "no-new-privileges", "no-new-privileges:true":
		case "no-new-privileges:false":
			s.NewPrivileges = true
		default:
			return c.errorf("security_opt", "%.80q is not possible", option).
				Hint("possible are: no-new-privileges:true, which every workspace has, and no-new-privileges:false, for sudo")
		}
	}
	return nil
}
