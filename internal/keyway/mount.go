package keyway

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// The kinds of a Mount. The zero value is MountBind.
const (
	MountBind   = ""       // a directory or file of the place
	MountVolume = "volume" // storage that the engine keeps, by name; it outlives the workspace
	MountTmpfs  = "tmpfs"  // memory
)

// Mount shows something in the file system of a workspace.
type Mount struct {
	Kind string `json:"kind,omitempty"`
	// Source is an absolute path at the place, or the name of a volume: empty for a
	// volume that ends with the workspace.
	Source   string `json:"source"`
	Target   string `json:"target"` // absolute path in the workspace
	ReadOnly bool   `json:"readOnly,omitempty"`
	Size     int64  `json:"size,omitempty"` // of a tmpfs, in bytes; 0: half of the memory
}

// String returns m in a readable form. Two mounts with the same effect have the same text.
func (m Mount) String() string {
	kind := m.Kind
	if kind == MountBind {
		kind = "bind"
	}
	text := kind + " " + m.Source + " at " + path.Clean(m.Target)
	if m.ReadOnly {
		text += " (read only)"
	}
	if m.Size > 0 {
		text += " (" + strconv.FormatInt(m.Size, 10) + " bytes)"
	}
	return text
}

// IsVolumeName reports whether engines take s for the name of a volume. Secrets'
// names have the same form.
func IsVolumeName(s string) bool {
	const alnum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return s != "" && len(s) <= 128 && strings.Trim(s, alnum+"_.-") == "" && strings.Contains(alnum, s[:1])
}

func (m Mount) validate() error {
	switch m.Kind {
	case MountBind:
	case MountVolume:
		if m.Source != "" && !IsVolumeName(m.Source) {
			return Errorf(Usage, "%.80q cannot be the name of a volume", m.Source).Advise(Example, "volume", "data:"+m.Target)
		}
	case MountTmpfs:
		if m.Source != "" || m.Size < 0 {
			return Errorf(Usage, "the tmpfs at %s cannot have a source or a negative size", m.Target).Advise(Example, "tmpfs", "/scratch:size=8gb")
		}
	default:
		return Errorf(Usage, "a mount at %s of the kind %.40q is not possible", m.Target, m.Kind).Hint("mount a directory, a volume or a tmpfs")
	}
	if m.Kind != MountBind && !path.IsAbs(m.Target) || path.Clean(m.Target) == "/" {
		return Errorf(Usage, "nothing can be mounted at %.80q in the workspace: give an absolute path below /", m.Target).Hint("for example: /scratch")
	}
	if m.Kind != MountTmpfs && m.Size != 0 {
		return Errorf(Usage, "only a tmpfs has a size, and %s is not one", m.Target).Hint("leave the size out")
	}
	return nil
}

// ParseMount reads SOURCE:TARGET[:ro|:rw], as docker run -v takes it: SOURCE is an
// absolute path at the place, or the name of a volume.
func ParseMount(s string) (Mount, error) {
	fields := strings.Split(s, ":")
	if len(fields) == 3 && (fields[2] == "ro" || fields[2] == "rw") || len(fields) == 2 {
		m := Mount{Source: fields[0], Target: path.Clean(fields[1]), ReadOnly: len(fields) == 3 && fields[2] == "ro"}
		if IsVolumeName(m.Source) {
			m.Kind = MountVolume
		}
		if (path.IsAbs(m.Source) || m.Kind == MountVolume) && path.IsAbs(fields[1]) && m.Target != "/" {
			return m, nil
		}
	}
	return Mount{}, Errorf(Usage, "%q is not a mount", s).
		Advise(MountForms)
}

// Mounted reports whether there is a mount at the path.
func (f Files) Mounted(target string) bool {
	return slices.ContainsFunc(f.Mounts, func(m Mount) bool { return path.Clean(m.Target) == target })
}

// Volumes are the names of those volumes that outlive the workspace.
func (f Files) Volumes() []string {
	var names []string
	for _, m := range f.Mounts {
		if m.Kind == MountVolume && m.Source != "" {
			names = append(names, m.Source)
		}
	}
	if f.HomeVolume != "" {
		names = append(names, f.HomeVolume)
	}
	return names
}

// Device shows a device file of the place in a workspace.
type Device struct {
	Source string `json:"source"` // absolute path at the place
	Target string `json:"target"` // absolute path in the workspace
	Access string `json:"access"` // of r, w and m, as docker run takes them
}

// maxDevices bounds the devices of one workspace.
const maxDevices = 64

func validateDevices(devices []Device) error {
	if len(devices) > maxDevices {
		return Errorf(Usage, "at most %d devices are possible", maxDevices)
	}
	for _, d := range devices {
		if !path.IsAbs(d.Source) || !path.IsAbs(d.Target) || d.Access == "" || len(d.Access) > 3 || strings.Trim(d.Access, "rwm") != "" {
			return Errorf(Usage, "%.80s:%.80s:%.20s is not a device", d.Source, d.Target, d.Access).Advise(Example, "device", "/dev/fuse")
		}
	}
	return nil
}

// ParseDevice reads SOURCE[:TARGET[:rwm]], as docker run --device takes it.
func ParseDevice(s string) (Device, error) {
	parts := strings.Split(s, ":")
	d := Device{Source: parts[0], Target: parts[0], Access: "rwm"}
	if len(parts) > 1 {
		d.Target = parts[1]
	}
	if len(parts) > 2 {
		d.Access = parts[2]
	}
	if len(parts) > 3 {
		return d, Errorf(Usage, "%.80s is not a device", s).Advise(Example, "device", "/dev/fuse")
	}
	return d, validateDevices([]Device{d})
}

// Directories of a workspace.
const (
	SecretsDir = "/run/secrets" // of the secrets
	ShmDir     = "/dev/shm"     // of the shared memory
)

// Secret is a small file that only the workspace's user reads.
type Secret struct {
	Name  string `json:"name"` // of the file in SecretsDir
	Value []byte `json:"value"`
}

// Bounds on secrets.
const (
	maxSecrets = 64
	maxSecret  = 64 << 10 // bytes
)

func validateSecrets(secrets []Secret) error {
	if len(secrets) > maxSecrets {
		return Errorf(Usage, "at most %d secrets are possible", maxSecrets)
	}
	seen := map[string]bool{}
	for _, s := range secrets {
		if !IsVolumeName(s.Name) || seen[s.Name] {
			return Errorf(Usage, "%.80q cannot be the name of a secret, or is there twice", s.Name).Hint("it becomes a file in %s, such as hf_token", SecretsDir)
		}
		seen[s.Name] = true
		if len(s.Value) > maxSecret {
			return Errorf(Usage, "the secret %s has over %d KiB", s.Name, maxSecret>>10).Hint("mount a file instead")
		}
	}
	return nil
}

// Origin identifies the template that a workspace was made from, with the template's settings
// for it.
type Origin struct {
	Template string `json:"template,omitempty"` // by name; empty: none
	// Published means that the template is one of the place's own (internal/catalogue). The
	// node then compares the Spec with it.
	Published bool              `json:"published,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"` // for people's own tools
	// Ports are those that programs inside are expected to listen on. None is
	// published.
	Ports []int `json:"ports,omitempty"`
}

// Bounds on an Origin.
const (
	maxLabels    = 64
	maxLabelText = 4 << 10 // bytes of a name or a value
	maxPorts     = 64
	maxTemplate  = 128
	ownLabels    = "dev.keyway."
)

func (o Origin) validate() error {
	if o.Published && o.Template == "" {
		return Errorf(Usage, "a template of the place's is asked for, and none is named").Advise(SeePlaceTemplates)
	}
	if len(o.Labels) > maxLabels || len(o.Ports) > maxPorts || len(o.Template) > maxTemplate {
		return Errorf(Usage, "too much in one workspace: at most %d labels and %d ports", maxLabels, maxPorts)
	}
	for name, value := range o.Labels {
		if name == "" || len(name) > maxLabelText || len(value) > maxLabelText {
			return Errorf(Usage, "%.80q is not a label", name).Advise(Example, "label", "team=vision")
		}
		if strings.HasPrefix(name, ownLabels) {
			return Errorf(Usage, "the label %.80s is not possible: those that begin with %s are keyway's own", name, ownLabels).Advise(Example, "label", "team=vision")
		}
	}
	for _, p := range o.Ports {
		if p < 1 || p > 65535 {
			return Errorf(Usage, "%d is not a port", p)
		}
	}
	return nil
}
