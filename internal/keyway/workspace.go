package keyway

import (
	"path"
	"strconv"
	"strings"
	"time"
)

// Spec says how a workspace shall look. The zero Spec is refused.
type Spec struct {
	Name   Name   `json:"name"`
	Engine string `json:"engine,omitempty"` // host, docker or podman; empty: the node chooses and says why
	Image  string `json:"image,omitempty"`  // reference; ignored by the host engine
	GPUs   GPUs   `json:"gpus,omitzero"`
	// ShmSize is the size of /dev/shm in bytes; 0 leaves the engine's default.
	ShmSize int64             `json:"shmSize,omitempty"`
	Mounts  []Mount           `json:"mounts,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	// User is a user or uid[:gid] of the image; empty: the image's own.
	User string `json:"user,omitempty"`
	// Workdir is the directory people and jobs start in; empty: the image's own,
	// else the home directory.
	Workdir  string `json:"workdir,omitempty"`
	ReadOnly bool   `json:"readOnly,omitempty"` // root file system read-only
	// Command is started beside the guest; the workspace ends when it ends.
	Command []string `json:"command,omitempty"`
	// CapAdd are capabilities of capabilities(7) that the container gets beside
	// those that every one has, without CAP_, or ALL.
	CapAdd []string `json:"capAdd,omitempty"`
	// NewPrivileges lets programs gain privileges when they start, as sudo does.
	NewPrivileges bool `json:"newPrivileges,omitempty"`
	// PidsLimit is how many processes and threads there may be; 0 is the engine's
	// default, -1 as many as the place allows.
	PidsLimit int64 `json:"pidsLimit,omitempty"`
	// ForwardAgent says that connections to this workspace carry the user's agent.
	ForwardAgent bool `json:"forwardAgent,omitempty"`
	// AuthorizedKeys are the public keys, in authorized_keys form, that may enter.
	AuthorizedKeys []string `json:"authorizedKeys"`
}

// Bounds on a Spec, which comes from the network.
const (
	maxAuthorizedKeys = 256
	maxMounts         = 256
	maxEnv            = 1024
	maxCommand        = 4096
	maxCaps           = 64
)

// Validate says what is wrong with s, in the user's words.
func (s Spec) Validate() error {
	if _, err := ParseName(string(s.Name)); err != nil {
		return err
	}
	if len(s.AuthorizedKeys) == 0 {
		return Errorf(NoKey, "the workspace would be closed to everybody: no public key was given").
			Hint("unlock a key first: keyway unlock")
	}
	if len(s.AuthorizedKeys) > maxAuthorizedKeys || len(s.Mounts) > maxMounts || len(s.Env) > maxEnv || len(s.Command) > maxCommand {
		return Errorf(Usage, "too much in one workspace: at most %d keys, %d mounts, %d variables, %d words of command",
			maxAuthorizedKeys, maxMounts, maxEnv, maxCommand)
	}
	for _, k := range s.AuthorizedKeys {
		if strings.ContainsAny(k, "\r\n\x00") {
			return Errorf(Usage, "a public key must be one line")
		}
	}
	if s.ShmSize < 0 {
		return Errorf(Usage, "--shm-size must not be negative")
	}
	if s.PidsLimit < -1 {
		return Errorf(Usage, "--pids-limit %d: a number from 1 on, or -1 for no limit", s.PidsLimit)
	}
	if len(s.CapAdd) > maxCaps {
		return Errorf(Usage, "--cap-add: at most %d capabilities", maxCaps)
	}
	for _, c := range s.CapAdd {
		if _, err := ParseCapability(c); err != nil {
			return err
		}
	}
	for k, v := range s.Env {
		if k == "" || strings.ContainsAny(k, "=\x00") || strings.ContainsRune(v, 0) {
			return Errorf(Usage, "%q cannot be the name of an environment variable", k)
		}
	}
	seen := map[string]bool{}
	for _, m := range s.Mounts {
		if seen[m.Target] {
			return Errorf(Usage, "two mounts at %s", m.Target)
		}
		seen[m.Target] = true
	}
	return nil
}

// Mount shows a directory or file of the place inside the workspace.
type Mount struct {
	Source   string `json:"source"` // absolute path at the place
	Target   string `json:"target"` // absolute path in the workspace
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// ParseMount reads SOURCE:TARGET[:ro|:rw], as docker run -v takes it.
func ParseMount(s string) (Mount, error) {
	fields := strings.Split(s, ":")
	if len(fields) == 3 && (fields[2] == "ro" || fields[2] == "rw") || len(fields) == 2 {
		m := Mount{Source: fields[0], Target: path.Clean(fields[1]), ReadOnly: len(fields) == 3 && fields[2] == "ro"}
		if path.IsAbs(m.Source) && path.IsAbs(fields[1]) && m.Target != "/" {
			return m, nil
		}
	}
	return Mount{}, Errorf(Usage, "%q is not a mount", s).
		Hint("give two absolute paths, at the place and in the workspace: -v /data:/mnt/data or -v /data:/mnt/data:ro")
}

// ParseCapability reads the name of a capability as docker run --cap-add takes it:
// with or without CAP_, in any case, or ALL. Which there are, the engine knows.
func ParseCapability(s string) (string, error) {
	c := strings.TrimPrefix(strings.ToUpper(s), "CAP_")
	if c == "" || len(c) > 32 || strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" {
		return "", Errorf(Usage, "--cap-add %s: not the name of a capability", s).
			Hint("for example: --cap-add NET_RAW; see which there are: man 7 capabilities")
	}
	return c, nil
}

// GPUs says which GPUs a workspace gets. The zero value is none.
type GPUs struct {
	All   bool     `json:"all,omitempty"`
	Count int      `json:"count,omitempty"` // that many, the engine chooses
	IDs   []string `json:"ids,omitempty"`   // these, by UUID or index
}

// None says that no GPU is asked for.
func (g GPUs) None() bool { return !g.All && g.Count == 0 && len(g.IDs) == 0 }

// String is g as --gpus takes it.
func (g GPUs) String() string {
	switch {
	case g.All:
		return "all"
	case g.Count > 0:
		return strconv.Itoa(g.Count)
	case len(g.IDs) > 0:
		return strings.Join(g.IDs, ",")
	}
	return "none"
}

// ParseGPUs reads what --gpus takes: all, none, a number of GPUs, UUIDs
// separated by commas, or device=… with indices or UUIDs as docker run has it.
func ParseGPUs(s string) (GPUs, error) {
	switch s {
	case "all":
		return GPUs{All: true}, nil
	case "", "none", "0":
		return GPUs{}, nil
	}
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 || n > 1024 {
			return GPUs{}, Errorf(Usage, "--gpus %s: a number from 0 to 1024 is possible", s)
		}
		return GPUs{Count: n}, nil
	}
	list, byDevice := strings.CutPrefix(s, "device=")
	ids := strings.Split(list, ",")
	for _, id := range ids {
		_, err := strconv.Atoi(id)
		uuid := strings.HasPrefix(id, "GPU-") || strings.HasPrefix(id, "MIG-")
		if !(uuid || byDevice && err == nil) || len(id) > 128 || strings.ContainsAny(id, " \t\r\n\"'\\") {
			return GPUs{}, Errorf(Usage, "--gpus %s: %q is not a GPU", s, id).
				Hint("--gpus all, --gpus 2, --gpus device=0,3, or UUIDs as nvidia-smi -L prints them: --gpus GPU-…,GPU-…")
		}
	}
	return GPUs{IDs: ids}, nil
}

// State is what a workspace does.
type State string

// The states of a workspace.
const (
	Running State = "running"
	Stopped State = "stopped" // ended or was stopped; can be started again
	Broken  State = "broken"  // runs, but its guest does not answer
	Unknown State = "unknown" // its place cannot be asked
)

// Workspace is what an engine knows of one workspace. All of it is asked from
// the engine and the workspace's own directory each time; nothing is remembered.
type Workspace struct {
	Name    Name      `json:"name"`
	Place   Place     `json:"place,omitempty"` // filled in by the laptop
	Engine  string    `json:"engine"`
	Image   string    `json:"image,omitempty"`
	State   State     `json:"state"`
	Reason  string    `json:"reason,omitempty"` // why it is not running, in a few words
	GPUs    GPUs      `json:"gpus,omitzero"`
	Created time.Time `json:"created"`
	// Sessions counts the living sessions; -1 where that cannot be told.
	Sessions     int       `json:"sessions"`
	ForwardAgent bool      `json:"forwardAgent,omitempty"`
	Guest        GuestInfo `json:"guest"`
}

// Progress is one piece of news during long work. Done and Total are bytes;
// Total is 0 when it is not known, both are 0 for plain news.
type Progress struct {
	Message string `json:"message"`
	Done    int64  `json:"done,omitempty"`
	Total   int64  `json:"total,omitempty"`
}

// DefaultImage is what a container is made of when no image is named: small, and
// with what people expect in a shell.
const DefaultImage = "debian:12"
