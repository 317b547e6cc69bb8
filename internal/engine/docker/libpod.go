package docker

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"keyway/internal/keyway"
)

// libpodCreate is Podman's own request to make a container; see byLibpod. The names are those of Podman 4 (pkg/specgen).
type libpodCreate struct {
	Name   string            `json:"name"`
	Image  string            `json:"image"`
	Labels map[string]string `json:"labels"`
	libpodProcess
	libpodFiles
	libpodPowers
}

// libpodProcess describes the first process, its start and its end.
type libpodProcess struct {
	Entrypoint []string          `json:"entrypoint"`
	Env        map[string]string `json:"env"`
	User       string            `json:"user,omitempty"`
	Workdir    string            `json:"work_dir,omitempty"`
	Stdin      bool              `json:"stdin"`
	StopSignal int               `json:"stop_signal"`
	StopWithin int               `json:"stop_timeout"`
	Restart    string            `json:"restart_policy"`
	Systemd    string            `json:"systemd"`
}

// libpodFiles describes the files that the container sees.
type libpodFiles struct {
	ReadOnly bool           `json:"read_only_filesystem"`
	ShmSize  int64          `json:"shm_size,omitempty"`
	Mounts   []libpodMount  `json:"mounts,omitempty"`
	Volumes  []libpodVolume `json:"volumes,omitempty"`
	Devices  []libpodDevice `json:"devices,omitempty"`
}

// libpodPowers describes the privileges and resources of the container.
type libpodPowers struct {
	CapAdd     []string       `json:"cap_add,omitempty"`
	CapDrop    []string       `json:"cap_drop,omitempty"`
	NoNewPrivs bool           `json:"no_new_privileges"`
	Limits     libpodLimits   `json:"resource_limits"`
	RLimits    []libpodRLimit `json:"r_limits,omitempty"`
	libpodSharing
}

// libpodSharing describes the namespaces that the container shares.
type libpodSharing struct {
	IPC      *libpodNamespace    `json:"ipcns,omitempty"`
	Network  *libpodNamespace    `json:"netns,omitempty"`
	Networks map[string]struct{} `json:"Networks,omitempty"`
}

type libpodNamespace struct {
	Mode string `json:"nsmode"`
}

func sharing(h *container.HostConfig) (s libpodSharing) {
	if h.IpcMode != "" {
		s.IPC = &libpodNamespace{string(h.IpcMode)}
	}
	switch name := string(h.NetworkMode); name {
	case "":
	case keyway.NetworkHost, keyway.NetworkNone:
		s.Network = &libpodNamespace{name}
	default:
		s.Network, s.Networks = &libpodNamespace{"bridge"}, map[string]struct{}{name: {}}
	}
	return s
}

type libpodMount struct {
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Destination string   `json:"destination"`
	Options     []string `json:"options"`
}

type libpodVolume struct {
	Name    string   `json:"Name"`
	Dest    string   `json:"Dest"`
	Options []string `json:"Options"`
}

// libpodDevice is a device file, or the CDI name of a device.
type libpodDevice struct {
	Path string `json:"path"`
}

type libpodRLimit struct {
	Type string `json:"type"`
	Hard uint64 `json:"hard"`
	Soft uint64 `json:"soft"`
}

// libpodLimits is LinuxResources of the OCI runtime specification.
type libpodLimits struct {
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

// libpod converts a plan for a container to the form of Podman's own API.
func libpod(plan client.ContainerCreateOptions, devices []string) libpodCreate {
	c, h := plan.Config, plan.HostConfig
	p := libpodCreate{
		Name: plan.Name, Image: c.Image, Labels: c.Labels,
		libpodProcess: libpodProcess{
			Entrypoint: c.Entrypoint, Env: map[string]string{}, User: c.User, Workdir: c.WorkingDir,
			Stdin: c.OpenStdin, StopSignal: 15, StopWithin: *c.StopTimeout, Restart: "no", Systemd: "false",
		},
		libpodFiles:  libpodFiles{ReadOnly: h.ReadonlyRootfs, ShmSize: h.ShmSize},
		libpodPowers: libpodPowers{CapAdd: h.CapAdd, CapDrop: h.CapDrop, NoNewPrivs: len(h.SecurityOpt) > 0, libpodSharing: sharing(h)},
	}
	for _, kv := range c.Env {
		k, v, _ := strings.Cut(kv, "=")
		p.Env[k] = v
	}
	for _, m := range h.Mounts {
		p.mount(m)
	}
	for target, options := range h.Tmpfs {
		p.Mounts = append(p.Mounts, libpodMount{Type: "tmpfs", Source: "tmpfs", Destination: target, Options: strings.Split(options, ",")})
	}
	for _, d := range h.Devices {
		p.Devices = append(p.Devices, libpodDevice{strings.Join([]string{d.PathOnHost, d.PathInContainer, d.CgroupPermissions}, ":")})
	}
	for _, name := range devices {
		p.Devices = append(p.Devices, libpodDevice{name})
	}
	p.limit(plan)
	return p
}

func (p *libpodCreate) mount(m mount.Mount) {
	mode := "rw"
	if m.ReadOnly {
		mode = "ro"
	}
	if m.Type == mount.TypeVolume {
		options := []string{mode}
		if m.VolumeOptions != nil && m.VolumeOptions.NoCopy {
			options = append(options, "nocopy")
		}
		p.Volumes = append(p.Volumes, libpodVolume{Name: m.Source, Dest: m.Target, Options: options})
		return
	}
	p.Mounts = append(p.Mounts, libpodMount{Type: "bind", Source: m.Source, Destination: m.Target, Options: []string{"rbind", "rprivate", mode}})
}

func (p *libpodCreate) limit(plan client.ContainerCreateOptions) {
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
		p.RLimits = append(p.RLimits, libpodRLimit{Type: strings.ToUpper(u.Name), Hard: uint64(u.Hard), Soft: uint64(u.Soft)})
	}
}

// createByLibpod makes a container by Podman's own API. It first makes the volumes, because that
// request cannot give them labels.
func (e *Engine) createByLibpod(ctx context.Context, plan client.ContainerCreateOptions, devices []string) (id string, warnings []string, err error) {
	for _, m := range plan.HostConfig.Mounts {
		if m.Type != mount.TypeVolume || m.Source == "" {
			continue
		}
		if _, err := e.client.VolumeCreate(ctx, client.VolumeCreateOptions{Name: m.Source, Labels: m.VolumeOptions.Labels}); err != nil {
			return "", nil, err
		}
	}
	return e.postLibpod(ctx, libpod(plan, devices))
}

func (e *Engine) postLibpod(ctx context.Context, request libpodCreate) (id string, warnings []string, err error) {
	var answer struct {
		ID       string   `json:"Id"`
		Warnings []string `json:"Warnings"`
	}
	if err := e.client.Libpod(ctx, http.MethodPost, "containers/create", request, &answer); err != nil {
		return "", nil, err
	}
	if answer.ID == "" {
		return "", nil, errors.New("Podman made a container and does not say which")
	}
	return answer.ID, answer.Warnings, nil
}
