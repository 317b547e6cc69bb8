// Package libpod converts a plan for a container to the form of Podman's own API. The names are those of
// Podman 4 (pkg/specgen).
package libpod

import (
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"keyway/internal/keyway"
)

// Request asks Podman to make a container.
type Request struct {
	Name   string            `json:"name"`
	Image  string            `json:"image"`
	Labels map[string]string `json:"labels"`
	process
	files
	powers
}

// process describes the first process, its start and its end.
type process struct {
	Entrypoint []string          `json:"entrypoint"`
	Env        map[string]string `json:"env"`
	Unset      []string          `json:"unsetenv,omitempty"`
	User       string            `json:"user,omitempty"`
	Workdir    string            `json:"work_dir,omitempty"`
	Stdin      bool              `json:"stdin"`
	StopSignal int               `json:"stop_signal"`
	StopWithin int               `json:"stop_timeout"`
	Restart    string            `json:"restart_policy"`
	Systemd    string            `json:"systemd"`
}

// files describes the files that the container sees.
type files struct {
	ReadOnly bool      `json:"read_only_filesystem"`
	ShmSize  int64     `json:"shm_size,omitempty"`
	Mounts   []mounted `json:"mounts,omitempty"`
	Volumes  []volume  `json:"volumes,omitempty"`
	Devices  []device  `json:"devices,omitempty"`
}

// powers describes the privileges and resources of the container.
type powers struct {
	CapAdd     []string `json:"cap_add,omitempty"`
	CapDrop    []string `json:"cap_drop,omitempty"`
	NoNewPrivs bool     `json:"no_new_privileges"`
	Limits     limits   `json:"resource_limits"`
	RLimits    []rlimit `json:"r_limits,omitempty"`
	namespaces
}

// namespaces describes the namespaces that the container shares.
type namespaces struct {
	IPC      *namespace          `json:"ipcns,omitempty"`
	Network  *namespace          `json:"netns,omitempty"`
	Networks map[string]struct{} `json:"Networks,omitempty"`
}

type namespace struct {
	Mode string `json:"nsmode"`
}

func sharing(h *container.HostConfig) (s namespaces) {
	if h.IpcMode != "" {
		s.IPC = &namespace{string(h.IpcMode)}
	}
	switch name := string(h.NetworkMode); name {
	case "":
	case keyway.NetworkHost, keyway.NetworkNone:
		s.Network = &namespace{name}
	default:
		s.Network, s.Networks = &namespace{"bridge"}, map[string]struct{}{name: {}}
	}
	return s
}

type mounted struct {
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Destination string   `json:"destination"`
	Options     []string `json:"options"`
}

type volume struct {
	Name    string   `json:"Name"`
	Dest    string   `json:"Dest"`
	Options []string `json:"Options"`
}

// device is a device file, or the CDI name of a device.
type device struct {
	Path string `json:"path"`
}

type rlimit struct {
	Type string `json:"type"`
	Hard uint64 `json:"hard"`
	Soft uint64 `json:"soft"`
}

// limits is LinuxResources of the OCI runtime specification.
type limits struct {
	Memory *struct {
		Limit int64 `json:"limit"`
	} `json:"memory,omitempty"`
	CPU *struct {
		Quota  int64  `json:"quota"`
		Period uint64 `json:"period"`
	} `json:"cpu,omitempty"`
	Pids *struct {
		Limit int64 `json:"limit"`
	} `json:"pids,omitempty"`
}

// cpuPeriod is the period over which a share of a processor is measured, in microseconds.
const cpuPeriod = 100_000

// Of returns the request for a planned container. devices are the CDI names of devices that it gets besides
// those of the plan.
func Of(plan client.ContainerCreateOptions, devices []string) Request {
	c, h := plan.Config, plan.HostConfig
	p := Request{
		Name: plan.Name, Image: c.Image, Labels: c.Labels,
		process: process{
			Entrypoint: c.Entrypoint, Env: map[string]string{}, User: c.User, Workdir: c.WorkingDir,
			Stdin: c.OpenStdin, StopSignal: 15, StopWithin: *c.StopTimeout, Restart: "no", Systemd: "false",
		},
		files:  files{ReadOnly: h.ReadonlyRootfs, ShmSize: h.ShmSize},
		powers: powers{CapAdd: h.CapAdd, CapDrop: h.CapDrop, NoNewPrivs: len(h.SecurityOpt) > 0, namespaces: sharing(h)},
	}
	for _, kv := range c.Env {
		if k, v, set := strings.Cut(kv, "="); set {
			p.Env[k] = v
		} else {
			p.Unset = append(p.Unset, k)
		}
	}
	for _, m := range h.Mounts {
		p.mount(m)
	}
	for target, options := range h.Tmpfs {
		p.Mounts = append(p.Mounts, mounted{Type: "tmpfs", Source: "tmpfs", Destination: target, Options: strings.Split(options, ",")})
	}
	for _, d := range h.Devices {
		p.Devices = append(p.Devices, device{strings.Join([]string{d.PathOnHost, d.PathInContainer, d.CgroupPermissions}, ":")})
	}
	for _, name := range devices {
		p.Devices = append(p.Devices, device{name})
	}
	p.limit(plan)
	return p
}

func (p *Request) mount(m mount.Mount) {
	mode := "rw"
	if m.ReadOnly {
		mode = "ro"
	}
	if m.Type == mount.TypeVolume {
		options := []string{mode}
		// Before the first start, files for the Home go below the volume. Podman then copies them into it.
		if m.VolumeOptions != nil && m.VolumeOptions.NoCopy && m.Target != string(keyway.GuestHome) {
			options = append(options, "nocopy")
		}
		p.Volumes = append(p.Volumes, volume{Name: m.Source, Dest: m.Target, Options: options})
		return
	}
	p.Mounts = append(p.Mounts, mounted{Type: "bind", Source: m.Source, Destination: m.Target, Options: []string{"rbind", "rprivate", mode}})
}

func (p *Request) limit(plan client.ContainerCreateOptions) {
	r := plan.HostConfig.Resources
	if r.Memory > 0 {
		p.Limits.Memory = &struct {
			Limit int64 `json:"limit"`
		}{r.Memory}
	}
	if r.NanoCPUs > 0 {
		p.Limits.CPU = &struct {
			Quota  int64  `json:"quota"`
			Period uint64 `json:"period"`
		}{r.NanoCPUs * cpuPeriod / 1e9, cpuPeriod}
	}
	if r.PidsLimit != nil {
		p.Limits.Pids = &struct {
			Limit int64 `json:"limit"`
		}{*r.PidsLimit}
	}
	for _, u := range r.Ulimits {
		p.RLimits = append(p.RLimits, rlimit{Type: strings.ToUpper(u.Name), Hard: uint64(u.Hard), Soft: uint64(u.Soft)})
	}
}
