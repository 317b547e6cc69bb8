package docker

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/engine/docker/inside"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
)

// The labels of a workspace's container. List needs only these and the daemon's answers.
const (
	labelName    = inside.LabelName
	labelOwner   = inside.LabelOwner
	labelSpec    = "dev.keyway.spec"    // the Spec as JSON, without its keys
	labelVersion = "dev.keyway.version" // of the guest
	labelMode    = "dev.keyway.way"     // modeBind or modeExec
	labelHome    = "dev.keyway.home"    // the Home at the place
	// labelHelper is on temporary containers that help with the workspace of that name, for people
	// to see. No decision depends on it: an image can have any label.
	labelHelper = "dev.keyway.helper"
)

// The modes in which a guest is reached; see the package's description.
const (
	modeBind = "bind"
	modeExec = "exec"
)

// stopSlack is the time that the guest needs besides the grace of the programs: for a last call, to
// kill, to write records, and for waiting clients.
const stopSlack = 15 * time.Second

// stopSeconds returns the number of seconds after which the engine kills a container that is
// stopped with a grace.
func stopSeconds(grace time.Duration) int {
	return int((grace + stopSlack + time.Second - 1) / time.Second)
}

// check refuses a Spec that no container can have.
func check(d daemon.Identity, local bool, s keyway.Spec) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if err := gpu.NoOtherWay(s, local); err != nil {
		return err
	}
	if s.Workdir != "" && !path.IsAbs(s.Workdir) {
		return keyway.Errorf(keyway.Usage, "the working directory %s is not an absolute path", s.Workdir).Advise(keyway.Example, "workdir", "/workspace")
	}
	for _, m := range s.Mounts {
		if !path.IsAbs(m.Target) || m.Kind == keyway.MountBind && !isAbsAnywhere(m.Source) {
			return keyway.Errorf(keyway.Usage, "a mount needs two absolute paths, not %q and %q", m.Source, m.Target).
				Advise(keyway.Example, "volume", "/data:/mnt/data")
		}
		if keyway.GuestHome.Has(m.Target) {
			return keyway.Errorf(keyway.Usage, "%s in the workspace is keyway's own place; nothing can be mounted there", m.Target).
				Advise(keyway.MountElsewhere, m.Source)
		}
		if m.Kind == keyway.MountBind && d.Podman && local && isMissing(m.Source) {
			return noSource(m) // Podman's API would make a directory there
		}
		above, below := mountAbove(s.Mounts, m)
		// Without the source, nothing is known: a daemon behind a local socket may have other files.
		if local && above.Kind == keyway.MountBind && above.ReadOnly && !isMissing(above.Source) && isMissing(filepath.Join(above.Source, below)) {
			return noMountPoint(m)
		}
	}
	return nil
}

func isMissing(file string) bool {
	_, err := os.Stat(file)
	return errors.Is(err, fs.ErrNotExist)
}

// mountAbove returns the nearest mount that contains m, and the path of m below it. It returns the
// zero Mount if there is none.
func mountAbove(all []keyway.Mount, m keyway.Mount) (above keyway.Mount, below string) {
	for _, other := range all {
		rest, within := strings.CutPrefix(path.Clean(m.Target), path.Clean(other.Target)+"/")
		if within && (below == "" || len(rest) < len(below)) {
			above, below = other, rest
		}
	}
	return above, below
}

func noSource(m keyway.Mount) error {
	return keyway.Errorf(keyway.Usage, "the mount's source %s is not at the place", m.Source).
		Advise(keyway.CorrectMount, m.Source, m.Target)
}

// isAbsAnywhere reports whether p is absolute on the daemon's machine, which may run Windows
// (Docker Desktop).
func isAbsAnywhere(p string) bool {
	return path.IsAbs(p) || len(p) > 2 && p[1] == ':' && (p[2] == '\\' || p[2] == '/')
}

// plan returns the container for a workspace.
func (e *Engine) plan(s keyway.Spec, mode string, gpus gpuOrder) (client.ContainerCreateOptions, error) {
	labels, err := e.labels(s, mode, gpus)
	if err != nil {
		return client.ContainerCreateOptions{}, err
	}
	return client.ContainerCreateOptions{
		Name: e.container(s.Name),
		Config: &container.Config{
			Image: s.Image,
			// An image's own entry point and command are for users of the image's service; users
			// enter a workspace instead.
			Entrypoint: initCommand(s),
			Env:        environment(s, gpus),
			User:       s.User,
			WorkingDir: s.Workdir,
			Labels:     labels,
			// The host key is written there; see launch.
			OpenStdin: true, StdinOnce: true,
			// An image may name another signal (nginx: QUIT), but the first process is the guest.
			StopSignal:  "SIGTERM",
			StopTimeout: new(stopSeconds(keyway.DefaultGrace)),
			Healthcheck: noHealthcheck(e.client.Known()),
		},
		HostConfig: e.hostConfig(s, mode, gpus),
	}, nil
}

// noHealthcheck switches off an image's health check, which checks a service that does not run.
// Podman 4 would take this for a check of its own.
func noHealthcheck(d daemon.Identity) *container.HealthConfig {
	if d.Podman {
		return nil
	}
	return &container.HealthConfig{Test: []string{"NONE"}}
}

func initCommand(s keyway.Spec) []string {
	argv := []string{keyway.GuestHome.Program(), "init", "--home", string(keyway.GuestHome)}
	if len(s.Command) > 0 {
		argv = append(append(argv, "--"), s.Command...)
	}
	return argv
}

func (e *Engine) labels(s keyway.Spec, mode string, gpus gpuOrder) (map[string]string, error) {
	s.AuthorizedKeys = nil // they may change; the Home has them
	s.Secrets = nil        // every user of the daemon sees labels
	spec, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	own := map[string]string{
		labelName: string(s.Name), labelOwner: e.owner, labelSpec: string(spec),
		labelVersion: e.guest.Version, labelMode: mode, labelHome: string(e.homes.Home(s.Name)),
		labelGPUs: strings.Join(gpus.grant.UUIDs(), ","),
	}
	all := map[string]string{}
	maps.Copy(all, s.Labels)
	maps.Copy(all, own)
	return all, nil
}

// environment returns the variables of the first process besides the image's own. CUDA images set
// NVIDIA_VISIBLE_DEVICES=all, and where NVIDIA's runtime is the default one, that gives all GPUs to
// a workspace that requested none. So this always sets it.
func environment(s keyway.Spec, gpus gpuOrder) []string {
	all := map[string]string{}
	if gpus.visible() != "" {
		all[gpu.VisibleDevices] = gpus.visible()
	}
	if s.HomeVolume != "" {
		all["HOME"] = s.HomeTarget()
	}
	maps.Copy(all, s.Env)
	all[keyway.EnvHome], all[keyway.EnvName] = string(keyway.GuestHome), string(s.Name)
	var env []string
	for k, v := range all {
		env = append(env, k+"="+v)
	}
	for _, k := range s.Unset {
		if _, set := all[k]; !set {
			env = append(env, k) // a name alone takes the image's variable away
		}
	}
	slices.Sort(env)
	return env
}

func (e *Engine) hostConfig(s keyway.Spec, mode string, gpus gpuOrder) *container.HostConfig {
	return &container.HostConfig{
		// The guest is the init; a second one would only hide how it ended.
		Init:           new(false),
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		ReadonlyRootfs: s.ReadOnly,
		ShmSize:        s.ShmSize,
		Mounts:         append(e.homeMounts(s.Name, mode), slices.Concat(userMounts(s), e.volumeMounts(s))...),
		SecurityOpt:    securityOptions(s),
		CapAdd:         s.CapAdd,
		CapDrop:        dropped(s.CapAdd),
		Resources:      resources(s.Resources, gpus),
		IpcMode:        container.IpcMode(s.IPC),
		NetworkMode:    container.NetworkMode(s.Network),
		Tmpfs:          tmpfs(s),
	}
}

// noNewPrivileges is the option of docker run --security-opt: a program cannot gain privileges by
// being executed (prctl(2), PR_SET_NO_NEW_PRIVS).
const noNewPrivileges = "no-new-privileges"

func securityOptions(s keyway.Spec) []string {
	if s.NewPrivileges {
		return nil
	}
	return []string{noNewPrivileges}
}

// needless are the capabilities that Docker gives to every container and Podman to none: to forge
// packets on the network that containers share, to make devices, and to write to the kernel's audit
// log.
var needless = []string{"AUDIT_WRITE", "MKNOD", "NET_RAW"}

// dropped returns the needless capabilities that were not requested.
func dropped(added []string) []string {
	return slices.DeleteFunc(slices.Clone(needless), func(c string) bool {
		return slices.ContainsFunc(added, func(a string) bool {
			a, _ = keyway.ParseCapability(a)
			return a == c || a == "ALL"
		})
	})
}

// defaultPids is the limit of processes and threads: many times the need of data loaders for eight
// GPUs, and a bound that a fork bomb reaches before the machine's own limit.
const defaultPids = 32768

// resources returns the limits for the daemon. A limit that was not requested stays at the daemon's
// default.
func resources(r keyway.Resources, gpus gpuOrder) container.Resources {
	limits := container.Resources{
		DeviceRequests: gpus.requests(), Devices: devices(r), PidsLimit: new(cmp.Or(r.PidsLimit, defaultPids)),
		Memory: r.Memory, NanoCPUs: int64(math.Round(r.CPUs * 1e9)),
	}
	for _, u := range r.Ulimits {
		limits.Ulimits = append(limits.Ulimits, &container.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	return limits
}

// homeMounts returns the mounts of the container's Home. NoCopy, because a daemon would otherwise
// copy the image's files at that path to a new volume.
func (e *Engine) homeMounts(name keyway.Name, mode string) []mount.Mount {
	volume := mount.Mount{Type: mount.TypeVolume, Target: string(keyway.GuestHome), VolumeOptions: &mount.VolumeOptions{NoCopy: true}}
	if mode == modeExec {
		return []mount.Mount{volume}
	}
	volume.Target = keyway.GuestHome.Data()
	// Mounts, not Binds: for Binds, dockerd makes a missing source.
	return []mount.Mount{
		{Type: mount.TypeBind, Source: string(e.homes.Home(name)), Target: string(keyway.GuestHome)},
		{Type: mount.TypeBind, Source: e.guest.Dir, Target: keyway.GuestHome.Bin(), ReadOnly: true},
		volume,
	}
}

func userMounts(s keyway.Spec) []mount.Mount {
	var mounts []mount.Mount
	for _, m := range s.Mounts {
		if m.Kind == keyway.MountBind {
			mounts = append(mounts, mount.Mount{Type: mount.TypeBind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
		}
	}
	return mounts
}

// made is a workspace's container, as described by its labels and the place's Record.
type made struct {
	id    string
	image string // id of the image
	mode  string
	home  keyway.Home
	spec  keyway.Spec
	gpus  []string      // UUIDs of the GPUs that it is bound to
	rec   engine.Record // zero: the place has no Record of it
	// container is its name, if keyway has not made it.
	container string
}

// maxLabel bounds the Spec in a label: every user of the daemon may write one.
const maxLabel = 4 << 20

// parseLabels reads the labels of the container with that ID and name. Labels alone do not make a
// workspace: an image made from one (docker commit) passes them on to every container of that
// image, but neither the name nor the ID, which is in the Record of a container that was renamed.
// So no removal, connection or trust depends on a label; see recall.
func (e *Engine) parseLabels(id, containerName string, labels map[string]string) (made, error) {
	name, err := keyway.ParseName(labels[labelName])
	if err != nil {
		return made{}, err
	}
	if labels[labelOwner] != e.owner || strings.TrimPrefix(containerName, "/") != e.container(name) && id != e.recorded(name) {
		return made{}, fmt.Errorf("the container %s only has a workspace's labels", containerName)
	}
	m := made{id: id, mode: labels[labelMode], home: e.homes.Home(name), gpus: boundTo(labels)}
	if len(labels[labelSpec]) > maxLabel {
		return made{}, fmt.Errorf("the specification of %s is over %d bytes", name, maxLabel)
	}
	if err := json.Unmarshal([]byte(labels[labelSpec]), &m.spec); err != nil {
		return made{}, fmt.Errorf("the specification of %s: %w", name, err)
	}
	m.spec.Name = name
	return m, nil
}

// recorded returns the ID of the container that the place's Record names for a workspace made by e; empty if
// there is none.
func (e *Engine) recorded(name keyway.Name) string {
	rec, err := e.homes.Record(name)
	if err != nil || rec.Adopted || rec.Spec.Engine != e.Name() {
		return ""
	}
	return rec.Container
}

// recall adds to m the Record that the place has of it. A workspace that was made with another
// state directory has its Home there. Its label only says where to look, and the Record found there
// must name this very container.
func (e *Engine) recall(m *made, labels map[string]string) {
	name := m.spec.Name
	if rec, err := e.homes.Record(name); err == nil {
		if rec.Container == m.id || rec.Container == "" && rec.Spec.Engine == e.Name() {
			m.rec = rec
		}
		return
	}
	home := labels[labelHome]
	if !engine.IsHomeOf(home, name) || m.id == "" {
		return
	}
	if rec, err := engine.HomesAbove(keyway.Home(home)).Record(name); err == nil && rec.Container == m.id {
		m.home, m.rec = keyway.Home(home), rec
	}
}

// homes returns the Homes that m's belongs to.
func (m made) homes() engine.Homes { return engine.HomesAbove(m.home) }
