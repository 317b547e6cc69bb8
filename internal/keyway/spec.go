package keyway

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Spec describes a workspace. The zero Spec is invalid. Each engine gives a workspace
// everything in its Spec, or refuses by name a field that it cannot provide.
//
// The groups are embedded, so they show in Go only: as JSON, in requests, records and labels, a
// Spec is one flat object, as before there were groups.
type Spec struct {
	Name   Name   `json:"name"`
	Engine string `json:"engine,omitempty"` // the name of an engine; empty: the node chooses and says why
	Image  string `json:"image,omitempty"`  // reference; the host engine says that it uses none
	// Command is started beside the guest; the workspace ends when it ends.
	Command []string `json:"command,omitempty"`
	Access
	Resources
	Files
	Process
	Origin
}

// Access has the keys that may enter a workspace, and agent forwarding.
type Access struct {
	// AuthorizedKeys are the public keys, in authorized_keys form, that may enter.
	AuthorizedKeys []string `json:"authorizedKeys"`
	// ForwardAgent means that connections to this workspace forward the user's agent.
	ForwardAgent bool `json:"forwardAgent,omitempty"`
}

// Resources are the limits of a workspace. Zero values mean the engine's defaults.
type Resources struct {
	GPUs GPUs `json:"gpus,omitzero"`
	// CPUs is the limit of processor time, in processors: 1.5 is one and a half.
	CPUs float64 `json:"cpus,omitempty"`
	// Memory is the limit of memory in bytes, without swap.
	Memory int64 `json:"memory,omitempty"`
	// ShmSize is the size of /dev/shm in bytes.
	ShmSize int64 `json:"shmSize,omitempty"`
	// Ulimits are limits of each process, as setrlimit(2) has them.
	Ulimits []Ulimit `json:"ulimits,omitempty"`
	// PidsLimit is the limit of processes and threads; -1 means the place's own limit.
	PidsLimit int64 `json:"pidsLimit,omitempty"`
	// Devices are device files of the place.
	Devices []Device `json:"devices,omitempty"`
}

// Files are the mounts and the file system settings of a workspace.
type Files struct {
	Mounts []Mount `json:"mounts,omitempty"`
	// Workdir is the directory people and jobs start in; empty: the image's own,
	// else the home directory.
	Workdir  string `json:"workdir,omitempty"`
	ReadOnly bool   `json:"readOnly,omitempty"` // root file system read-only
	// Secrets are files in SecretsDir that only the workspace's user reads. No record
	// and no label holds them.
	Secrets []Secret `json:"secrets,omitempty"`
	// HomeVolume is the name of a volume for the user's home directory. It outlives
	// the workspace.
	HomeVolume string `json:"homeVolume,omitempty"`
}

// Process has the user, the privileges and the environment of a workspace's programs.
type Process struct {
	// User is a user or uid[:gid] of the image; empty: the image's own.
	User string `json:"user,omitempty"`
	// Caller runs programs with the uid and gid that the owner has at the place, so
	// that files on mounts are the owner's. It excludes User.
	Caller bool `json:"caller,omitempty"`
	// Env are variables by name. They replace those of the image, and Unset are the image's
	// variables that no program gets.
	Env   map[string]string `json:"env,omitempty"`
	Unset []string          `json:"unset,omitempty"`
	// CapAdd are capabilities of capabilities(7) that the container gets beside
	// those that every one has, without CAP_, or ALL.
	CapAdd []string `json:"capAdd,omitempty"`
	// NewPrivileges lets programs gain privileges when they start, as sudo does.
	NewPrivileges bool `json:"newPrivileges,omitempty"`
	// IPC is whose System V IPC, message queues and /dev/shm the programs use: one of the
	// IPC words; empty: the engine's choice.
	IPC string `json:"ipc,omitempty"`
	// Network is the network of the programs: NetworkHost, NetworkNone or the name of an
	// engine's network; empty means the engine's choice. No port is published, and users enter
	// a workspace through its socket on any network.
	Network string `json:"network,omitempty"`
}

// Words of Process.IPC.
const (
	IPCHost      = "host"      // the place's
	IPCPrivate   = "private"   // its own
	IPCShareable = "shareable" // its own, which other containers may join
)

// Words of Process.Network that name no network.
const (
	NetworkHost = "host" // the place's own
	NetworkNone = "none" // nothing but a loopback
)

// Bounds on a Spec, which comes from the network.
const (
	maxAuthorizedKeys = 256
	maxMounts         = 256
	maxEnv            = 1024
	maxCommand        = 4096
	maxCaps           = 64
	maxUlimits        = 32
	maxCPUs           = 1 << 16
	maxGPUs           = 1024
	maxNetwork        = 64 // bytes in a network's name
)

// Validate returns an error for the user if s is invalid.
func (s Spec) Validate() error {
	if _, err := ParseName(string(s.Name)); err != nil {
		return err
	}
	if err := CheckTexts(s); err != nil {
		return err
	}
	if len(s.Command) > maxCommand {
		return Errorf(Usage, "the command has over %d words", maxCommand).Hint("put it into a script, and name that")
	}
	if s.IPC == IPCHost && s.ShmSize != 0 {
		return Errorf(Usage, "the IPC namespace %s brings the place's own /dev/shm, and a size is asked for, which is that of another", IPCHost).Hint("keep one of the two")
	}
	for _, validate := range []func() error{s.Access.validate, s.Resources.validate, s.Files.validate, s.Process.validate, s.Origin.validate, s.validateTargets} {
		if err := validate(); err != nil {
			return err
		}
	}
	return nil
}

func (a Access) validate() error {
	if len(a.AuthorizedKeys) == 0 {
		return Errorf(NoKey, "the workspace would be closed to everybody: no public key was given").
			Advise(UnlockFirst)
	}
	if len(a.AuthorizedKeys) > maxAuthorizedKeys {
		return Errorf(Usage, "at most %d public keys may enter a workspace", maxAuthorizedKeys).Advise(NameKeys)
	}
	for _, k := range a.AuthorizedKeys {
		if strings.ContainsAny(k, "\r\n\x00") {
			return Errorf(Usage, "a public key must be one line")
		}
	}
	return nil
}

func (r Resources) validate() error {
	switch {
	case r.GPUs.Count < 0 || r.GPUs.Count > maxGPUs || len(r.GPUs.IDs) > maxGPUs:
		return Errorf(Usage, "%d GPUs cannot be asked for: from 0 to %d can", r.GPUs.Count+len(r.GPUs.IDs), maxGPUs).Advise(GPUForms)
	case r.GPUs.Wait && r.GPUs.None():
		return Errorf(Usage, "there is nothing to wait for: no GPUs are asked for").Advise(WaitWithGPUs)
	case r.ShmSize < 0:
		return Errorf(Usage, "the size of the shared memory must not be negative").Advise(Example, "shm-size", "16gb")
	case r.Memory < 0:
		return Errorf(Usage, "the memory must not be negative").Advise(Example, "memory", "64gb")
	case !(r.CPUs >= 0 && r.CPUs <= maxCPUs): // also NaN
		return Errorf(Usage, "%v processors cannot be asked for: from 0.01 to %d can", r.CPUs, maxCPUs).Advise(Example, "cpus", "1.5")
	case r.PidsLimit < -1:
		return Errorf(Usage, "a limit of %d processes is not possible: it must be at least 1, or -1 for no limit", r.PidsLimit)
	case len(r.Ulimits) > maxUlimits:
		return Errorf(Usage, "at most %d ulimits are possible", maxUlimits)
	}
	seen := map[string]bool{}
	for _, u := range r.Ulimits {
		if err := u.validate(); err != nil {
			return err
		}
		if seen[u.Name] {
			return Errorf(Usage, "the ulimit %s is given twice", u.Name).Advise(UlimitOnce, u.Name)
		}
		seen[u.Name] = true
	}
	return validateDevices(r.Devices)
}

// validateTargets refuses two mounts or files at one target, because one would hide the other.
func (s Spec) validateTargets() error {
	at := map[string]string{} // the source or kind, for users
	if len(s.Secrets) > 0 {
		at[SecretsDir] = "the secrets"
	}
	for _, secret := range s.Secrets {
		at[path.Join(SecretsDir, secret.Name)] = "a secret"
	}
	if s.ShmSize != 0 {
		at[ShmDir] = "shared memory of a size"
	}
	if s.HomeVolume != "" {
		at[s.HomeTarget()] = "the volume for the home directory"
	}
	for _, m := range s.Mounts {
		target := path.Clean(m.Target)
		if other, taken := at[target]; taken {
			return Errorf(Usage, "two things are asked for at %s: %s and a mount", target, other).Hint("keep one of the two, or mount the other elsewhere")
		}
		at[target] = "another mount"
	}
	devices := map[string]bool{}
	for _, d := range s.Devices {
		if target := path.Clean(d.Target); devices[target] {
			return Errorf(Usage, "two devices are asked for at %s", target).Hint("keep one of the two")
		} else {
			devices[target] = true
		}
	}
	return nil
}

// defaultHome is the target of the volume for the home directory, unless the environment has HOME.
const defaultHome = "/home/keyway"

// HomeTarget returns the target of the volume for the home directory.
func (s Spec) HomeTarget() string {
	if home := s.Env["HOME"]; path.IsAbs(home) && path.Clean(home) != "/" {
		return path.Clean(home)
	}
	return defaultHome
}

func (f Files) validate() error {
	if len(f.Mounts) > maxMounts {
		return Errorf(Usage, "at most %d mounts are possible", maxMounts).Hint("mount a directory above them")
	}
	for _, m := range f.Mounts {
		if err := m.validate(); err != nil {
			return err
		}
	}
	if f.HomeVolume != "" && !IsVolumeName(f.HomeVolume) {
		return Errorf(Usage, "%.80q cannot be the name of a volume", f.HomeVolume).Hint("for example: my-home")
	}
	return validateSecrets(f.Secrets)
}

// maxUID is the last number that engines take for a user or a group.
const maxUID = 1<<31 - 1

// CheckUser returns the fault of a user in the form that engines take: a name or a number, and
// perhaps a group after a colon; empty: the image's own.
func CheckUser(s string) error {
	user, group, both := strings.Cut(s, ":")
	one := func(s string) bool {
		if strings.Trim(s, "0123456789") != "" {
			return IsLoginName(s)
		}
		n, err := strconv.Atoi(s)
		return err == nil && n <= maxUID
	}
	if s != "" && (!one(user) || both && !one(group)) {
		return Errorf(Usage, "%.80q cannot be a user: give a name or a number, and a group after a colon if need be", s).Advise(NumericUser)
	}
	return nil
}

func (p Process) validate() error {
	if len(p.Env)+len(p.Unset) > maxEnv || len(p.CapAdd) > maxCaps {
		return Errorf(Usage, "too much in one workspace: at most %d variables and %d capabilities", maxEnv, maxCaps)
	}
	if p.Caller && p.User != "" {
		return Errorf(Usage, "programs run as the user %s or as the owner of the workspace, not as both", p.User).Advise(EitherUser)
	}
	if err := CheckUser(p.User); err != nil {
		return err
	}
	for _, c := range p.CapAdd {
		if _, err := ParseCapability(c); err != nil {
			return err
		}
	}
	if err := p.validateSharing(); err != nil {
		return err
	}
	for _, k := range slices.Concat(slices.Sorted(maps.Keys(p.Env)), p.Unset) {
		if k == "" || strings.ContainsRune(k, '=') {
			return Errorf(Usage, "%q cannot be the name of an environment variable", k)
		}
	}
	for _, k := range p.Unset {
		if _, set := p.Env[k]; set {
			return Errorf(Usage, "the variable %q has a value and is taken away", k).Hint("keep one of the two")
		}
	}
	return nil
}

func (p Process) validateSharing() error {
	if p.IPC != "" && p.IPC != IPCHost && p.IPC != IPCPrivate && p.IPC != IPCShareable {
		return Errorf(Usage, "%.64q is not an IPC namespace: %s, %s and %s are", p.IPC, IPCPrivate, IPCShareable, IPCHost).Advise(Example, "ipc", IPCHost)
	}
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.-", r))
	}
	if len(p.Network) > maxNetwork || strings.ContainsFunc(p.Network, odd) || strings.TrimLeft(p.Network, "_.-") != p.Network {
		return Errorf(Usage, "%.64q is not a network: %s, %s and the names of the engine's networks are", p.Network, NetworkHost, NetworkNone).
			Advise(Example, "network", NetworkHost)
	}
	return nil
}

// Ulimit is a limit of each process of a workspace, as docker run --ulimit has it.
type Ulimit struct {
	Name string `json:"name"` // of setrlimit(2), in lower case and without RLIMIT_: nofile, memlock
	Soft int64  `json:"soft"` // what holds; -1: no limit
	Hard int64  `json:"hard"` // up to where a process may raise it; -1: no limit
}

func (u Ulimit) String() string { return fmt.Sprintf("%s=%d:%d", u.Name, u.Soft, u.Hard) }

func (u Ulimit) validate() error {
	if u.Name == "" || len(u.Name) > 16 || strings.Trim(u.Name, "abcdefghijklmnopqrstuvwxyz") != "" {
		return Errorf(Usage, "%q is not the name of a ulimit", u.Name).
			Advise(UlimitForm)
	}
	if u.Soft < -1 || u.Hard < -1 || u.Hard != -1 && (u.Soft == -1 || u.Soft > u.Hard) {
		return Errorf(Usage, "the ulimit %s is not possible: its first value must not be above the second; -1 means no limit", u).
			Advise(Example, "ulimit", "nofile=65536:1048576")
	}
	return nil
}

// ParseCapability reads the name of a capability as docker run takes it:
// with or without CAP_, in any case, or ALL. Which there are, the engine knows.
func ParseCapability(s string) (string, error) {
	c := strings.TrimPrefix(strings.ToUpper(s), "CAP_")
	if c == "" || len(c) > 32 || strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" {
		return "", Errorf(Usage, "%s is not the name of a capability", s).
			Advise(CapabilityForm)
	}
	return c, nil
}

// GPUs says which GPUs a workspace gets. The zero value is none.
type GPUs struct {
	All   bool     `json:"all,omitempty"`
	Count int      `json:"count,omitempty"` // that many, the engine chooses
	IDs   []string `json:"ids,omitempty"`   // these, by UUID or index
	// Wait means that the workspace waits for GPUs that are not free.
	Wait bool `json:"wait,omitempty"`
}

// None reports whether no GPU is requested.
func (g GPUs) None() bool { return !g.All && g.Count == 0 && len(g.IDs) == 0 }

// String returns g as ParseGPUs reads it. Alone, an index would be a number of GPUs.
func (g GPUs) String() string {
	switch {
	case g.All:
		return "all"
	case g.Count > 0:
		return strconv.Itoa(g.Count)
	case len(g.IDs) == 0:
		return "none"
	}
	ids := strings.Join(g.IDs, ",")
	for _, id := range g.IDs {
		if id != "" && id[0] >= '0' && id[0] <= '9' {
			return "device=" + ids
		}
	}
	return ids
}
