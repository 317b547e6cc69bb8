package keyway

import "time"

// UnknownNumber stands for a number that the driver does not tell.
const UnknownNumber = -1

// GPU is one GPU of a place, or one part of a GPU that is divided (MIG).
type GPU struct {
	Index  string `json:"index"` // 0; 0:1 is the part with the number 1 of GPU 0
	UUID   string `json:"uuid"`  // empty: the driver cannot reach the GPU
	Model  string `json:"model"`
	Memory int64  `json:"memory"` // in bytes; -1: not told
	Used   int64  `json:"used"`   // of Memory, in bytes; -1: not told
	Load   int    `json:"load"`   // in percent; -1: not told
	// Holder is the workspace that has the GPU; nil: none. A GPU without a holder on
	// which others compute is not free either.
	Holder    *GPUHolder   `json:"holder,omitempty"`
	Processes []GPUProcess `json:"processes,omitempty"`
}

// GPUHolder is a workspace that has a GPU.
type GPUHolder struct {
	Owner     string `json:"owner"` // the login name of its owner, or the uid
	Workspace Name   `json:"workspace"`
	Engine    string `json:"engine"`
	Starting  bool   `json:"starting,omitempty"` // it is being made
}

// GPUProcess is a process that uses a GPU.
type GPUProcess struct {
	PID     int    `json:"pid"`             // 0: those that the driver does not name, together
	Owner   string `json:"owner,omitempty"` // the login name, or the uid; empty: not told
	Command string `json:"command,omitempty"`
	Memory  int64  `json:"memory"` // in bytes; -1: not told
	// Compute reports whether it computes; else it only draws.
	Compute bool `json:"compute"`
	// Workspace is the workspace that it belongs to; empty if none is known.
	Workspace Name `json:"workspace,omitempty"`
}

// GPUWaiter is a request that waits for GPUs, the next one first.
type GPUWaiter struct {
	Owner     string    `json:"owner"`
	Workspace Name      `json:"workspace"`
	GPUs      string    `json:"gpus"` // as ParseGPUs reads it
	Since     time.Time `json:"since"`
}

// GPUReport is a place's report of its GPUs.
type GPUReport struct {
	Driver string      `json:"driver,omitempty"`
	CUDA   string      `json:"cuda,omitempty"` // the newest CUDA that the driver runs
	GPUs   []GPU       `json:"gpus"`
	Queue  []GPUWaiter `json:"queue,omitempty"`
}

// GPUsHeader is the line that a guest prints before the names of its GPUs. It distinguishes an
// empty list from a failed command.
const GPUsHeader = "gpus:"
