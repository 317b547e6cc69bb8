package keyway

import (
	"slices"
	"strings"
	"time"
)

// Facts are a place's report of everything that decides whether a workspace will run there. An
// unknown field is empty and decides nothing.
type Facts struct {
	Arch   string    `json:"arch"` // as Go calls it: amd64
	Time   time.Time `json:"time"` // of its clock
	Memory int64     `json:"memory,omitempty"`
	UID    int       `json:"uid"` // of the user there
	// NoGuest is the error if no workspace can be made there at all.
	NoGuest *Error `json:"noGuest,omitempty"`
	// Refused is the error with which the engine refuses this Spec.
	Refused *Error       `json:"refused,omitempty"`
	Driver  DriverFacts  `json:"driver"`
	Engine  EngineFacts  `json:"engine"`
	Mounts  []MountFacts `json:"mounts,omitempty"`
	// HardLimits are those that a user's own engine cannot exceed, by the names that
	// Ulimit has; -1: none.
	HardLimits map[string]int64 `json:"hardLimits,omitempty"`
}

// DriverFacts has the facts about NVIDIA's driver at a place.
type DriverFacts struct {
	Module  string     `json:"module,omitempty"`  // version of the kernel's part; empty: there is none
	Library string     `json:"library,omitempty"` // version of the part that programs load
	CUDA    string     `json:"cuda,omitempty"`    // the newest that it runs, as it says
	GPUs    []GPUFacts `json:"gpus,omitempty"`
}

// GPUFacts has the facts about one GPU.
type GPUFacts struct {
	Model   string `json:"model"`
	Brand   string `json:"brand,omitempty"`   // as the driver says: Tesla, GeForce
	Compute string `json:"compute,omitempty"` // its compute capability: 8.0
}

// EngineFacts has the facts about the engine that would run the workspace.
type EngineFacts struct {
	Name         string     `json:"name"`
	CPUs         int        `json:"cpus,omitempty"` // more cannot be asked for; 0: any number can
	Why          *Error     `json:"why,omitempty"`  // why it cannot be used
	Images       bool       `json:"images"`         // it makes containers from images
	Rootless     bool       `json:"rootless,omitempty"`
	Runtime      bool       `json:"runtime,omitempty"` // NVIDIA's runtime or its hook is installed
	CDI          bool       `json:"cdi,omitempty"`     // it takes CDI names, and NVIDIA's are described
	Systemd      bool       `json:"systemd,omitempty"` // systemd keeps the devices of its containers
	DevChar      bool       `json:"devChar,omitempty"` // /dev/char knows NVIDIA's devices, as systemd needs it
	Free         int64      `json:"free,omitempty"`    // bytes where images lie
	RemoteDaemon string     `json:"apart,omitempty"`   // why it does not see the place's files
	Image        ImageFacts `json:"image"`             // if it is there
}

// ImageFacts are facts from an image's configuration.
type ImageFacts struct {
	Present bool     `json:"present,omitempty"` // at the place
	Arch    []string `json:"arch,omitempty"`    // that there are builds for
	Env     []string `json:"env,omitempty"`
	Size    int64    `json:"size,omitempty"`   // bytes to pull; 0: not known
	Digest  string   `json:"digest,omitempty"` // sha256:…, of the image that the reference names
	Build   string   `json:"build,omitempty"`  // sha256:…, of the build for the place, which the former may list
	ID      string   `json:"id,omitempty"`     // sha256:…, of its configuration: by this, engines know it
}

// MountFacts has the facts about a directory or file that would be mounted.
type MountFacts struct {
	Source   string `json:"source"`
	Exists   bool   `json:"exists"`
	Readable bool   `json:"readable"` // by the user there
	Writable bool   `json:"writable"`
}

// Identity returns the names and hashes that identify the image.
func (f ImageFacts) Identity() ImageIdentity {
	return ImageIdentity{ID: f.ID, Digests: Distinct(f.Digest, f.Build)}
}

// Bounds on facts, which come from a place and are used in keyway's own sentences.
const (
	maxFactGPUs  = 256
	maxFactEnv   = 4096
	maxFactWord  = 96 // bytes of a version, a model or the name of a variable
	maxFactCause = 512
)

// Plain returns f without values that do not have the required form: they count as unknown.
func (f Facts) Plain() Facts {
	f.Arch = onlyOf(f.Arch, isPlatform)
	d := &f.Driver
	d.Module, d.Library, d.CUDA = onlyOf(d.Module, isVersion), onlyOf(d.Library, isVersion), onlyOf(d.CUDA, isVersion)
	d.GPUs = slices.Clone(d.GPUs[:min(len(d.GPUs), maxFactGPUs)])
	for i, g := range d.GPUs {
		d.GPUs[i] = GPUFacts{Model: onlyOf(g.Model, isModel), Brand: onlyOf(g.Brand, isModel), Compute: onlyOf(g.Compute, isVersion)}
	}
	if e := &f.Engine; len(e.RemoteDaemon) > maxFactCause {
		e.RemoteDaemon = strings.ToValidUTF8(e.RemoteDaemon[:maxFactCause], "?") + "…"
	}
	f.Engine.Image = f.Engine.Image.Plain()
	return f
}

// Plain returns f without values that do not have the required form.
func (f ImageFacts) Plain() ImageFacts {
	f.Arch = slices.DeleteFunc(slices.Clone(f.Arch), func(a string) bool { return onlyOf(a, isPlatform) == "" })
	f.Env = slices.DeleteFunc(slices.Clone(f.Env[:min(len(f.Env), maxFactEnv)]), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return onlyOf(name, isVariable) == ""
	})
	return f
}

// onlyOf returns s if it is short and has only characters for which is returns true, and
// otherwise "".
func onlyOf(s string, is func(rune) bool) string {
	if len(s) > maxFactWord || strings.ContainsFunc(s, func(r rune) bool { return !is(r) }) {
		return ""
	}
	return s
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

func isAlnum(r rune) bool {
	return isDigit(r) || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

func isVersion(r rune) bool { return isDigit(r) || r == '.' }

func isPlatform(r rune) bool { return isAlnum(r) || r == '_' || r == '-' }

func isVariable(r rune) bool { return isAlnum(r) || r == '_' }

// isModel has what NVIDIA's names of GPUs have: NVIDIA H100 80GB HBM3 MIG 1g.10gb.
func isModel(r rune) bool { return isAlnum(r) || strings.ContainsRune(" ._+/()-", r) }
