package keyway

import "time"

// Facts are what a place knows that decides whether a workspace will run there, as the
// place claims. What could not be found out is empty, and decides nothing.
type Facts struct {
	Arch   string    `json:"arch"` // as Go calls it: amd64
	Time   time.Time `json:"time"` // of its clock
	Memory int64     `json:"memory,omitempty"`
	UID    int       `json:"uid"` // of the user there
	// NoGuest is why no workspace can be made there at all.
	NoGuest *Error       `json:"noGuest,omitempty"`
	Driver  DriverFacts  `json:"driver"`
	Engine  EngineFacts  `json:"engine"`
	Mounts  []MountFacts `json:"mounts,omitempty"`
	// HardLimits are those that a user's own engine cannot exceed, by the names that
	// Ulimit has; -1: none.
	HardLimits map[string]int64 `json:"hardLimits,omitempty"`
}

// DriverFacts are what is known of NVIDIA's driver at a place.
type DriverFacts struct {
	Module  string     `json:"module,omitempty"`  // version of the kernel's part; empty: there is none
	Library string     `json:"library,omitempty"` // version of the part that programs load
	CUDA    string     `json:"cuda,omitempty"`    // the newest that it runs, as it says
	GPUs    []GPUFacts `json:"gpus,omitempty"`
}

// GPUFacts are what is known of one GPU.
type GPUFacts struct {
	Model   string `json:"model"`
	Brand   string `json:"brand,omitempty"`   // as the driver says: Tesla, GeForce
	Compute string `json:"compute,omitempty"` // its compute capability: 8.0
}

// EngineFacts are what is known of the engine that would run the workspace.
type EngineFacts struct {
	Name         string     `json:"name"`
	Why          *Error     `json:"why,omitempty"` // why it cannot be used
	Images       bool       `json:"images"`        // it makes containers from images
	Rootless     bool       `json:"rootless,omitempty"`
	Runtime      bool       `json:"runtime,omitempty"` // NVIDIA's runtime or its hook is installed
	CDI          bool       `json:"cdi,omitempty"`     // it takes CDI names, and NVIDIA's are described
	Systemd      bool       `json:"systemd,omitempty"` // systemd keeps the devices of its containers
	DevChar      bool       `json:"devChar,omitempty"` // /dev/char knows NVIDIA's devices, as systemd needs it
	Free         int64      `json:"free,omitempty"`    // bytes where images lie
	RemoteDaemon string     `json:"apart,omitempty"`   // why it does not see the place's files
	Image        ImageFacts `json:"image"`             // if it is there
}

// ImageFacts are what an image says of itself.
type ImageFacts struct {
	Present bool     `json:"present,omitempty"` // at the place
	Arch    []string `json:"arch,omitempty"`    // that there are builds for
	Env     []string `json:"env,omitempty"`
	Size    int64    `json:"size,omitempty"`   // bytes to pull; 0: not known
	Digest  string   `json:"digest,omitempty"` // sha256:…, of what the reference names
	Build   string   `json:"build,omitempty"`  // sha256:…, of the build for the place, which the former may list
	ID      string   `json:"id,omitempty"`     // sha256:…, of its configuration: by this, engines know it
}

// MountFacts are what is known of a directory or file that would be mounted.
type MountFacts struct {
	Source   string `json:"source"`
	Exists   bool   `json:"exists"`
	Readable bool   `json:"readable"` // by the user there
	Writable bool   `json:"writable"`
}

// Identity is by what the image is known.
func (f ImageFacts) Identity() ImageIdentity {
	id := ImageIdentity{ID: f.ID}
	for _, digest := range []string{f.Digest, f.Build} {
		if digest != "" {
			id.Digests = append(id.Digests, digest)
		}
	}
	return id
}
