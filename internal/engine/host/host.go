package host

import (
	"context"
	"io/fs"
	"os"
	"strconv"

	"keyway/internal/engine"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
)

// Name is the user's name of this engine.
const Name = engine.Host

// Engine implements engine.Engine with processes of the user that it runs as. All its knowledge of
// a workspace comes from the workspace's Home and the process table.
type Engine struct {
	homes engine.Homes
	guest engine.Guest
	gpus  *gpu.Pool
	short func() (string, error) // directory for short names of Homes; nil: none
	// machine is the root of this machine's files, which show the effect of a logout.
	machine fs.FS
}

var _ engine.Engine = (*Engine)(nil)

// An Option changes what New makes.
type Option func(*Engine)

// GPUsFrom makes the engine lend the GPUs of that place instead of this machine's.
func GPUsFrom(p *gpu.Pool) Option { return func(e *Engine) { e.gpus = p } }

// ShortNamesIn makes the engine create a short name in that directory for each Home whose path is
// too long for an agent's socket.
func ShortNamesIn(dir func() (string, error)) Option { return func(e *Engine) { e.short = dir } }

// MachineIs makes the engine read the files below root, instead of this machine's, to find out the
// effect of a logout.
func MachineIs(root fs.FS) Option { return func(e *Engine) { e.machine = root } }

// New makes an engine that keeps its workspaces below root.
func New(root string, guest engine.Guest, opts ...Option) *Engine {
	e := &Engine{homes: engine.HomesIn(root), guest: guest, gpus: gpu.Here(), machine: os.DirFS("/")}
	for _, opt := range opts {
		opt(e)
	}
	return e
}

// Name implements engine.Engine.
func (e *Engine) Name() string { return Name }

// Probe implements engine.Engine.
func (e *Engine) Probe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return probe()
}

// check refuses, each with its own message, fields that plain processes cannot have: to ignore one
// would yield another workspace than the requested one.
func check(s keyway.Spec) error {
	for _, refuse := range []func(keyway.Spec) error{keyway.Spec.Validate, contradicts, noShm, noLimits, noReadOnly, noOtherUser, noPrivileges, noDevices, noMounts, workdirExists} {
		if err := refuse(s); err != nil {
			return err
		}
	}
	return nil
}

// Refuses returns why the engine makes no workspace of s.
func (e *Engine) Refuses(_ context.Context, s keyway.Spec) error { return check(s) }

// visibleDevices is the variable that CUDA obeys (CUDA C++ Programming Guide, "CUDA Environment
// Variables"). Without it, every process sees all GPUs of the machine.
const visibleDevices = "CUDA_VISIBLE_DEVICES"

// contradicts refuses a variable that contradicts the GPUs.
func contradicts(s keyway.Spec) error {
	if value, set := s.Env[visibleDevices]; set && !s.GPUs.None() {
		return keyway.Errorf(keyway.Usage, "the GPUs %s and the variable %s=%s both choose the GPUs", s.GPUs, visibleDevices, value).
			Advise(keyway.EitherGPUs, visibleDevices)
	}
	return nil
}

func noShm(s keyway.Spec) error {
	if s.ShmSize == 0 {
		return nil
	}
	return keyway.Errorf(keyway.Usage, "the host engine uses this machine's own /dev/shm and cannot size it").
		Advise(keyway.LeaveOut, "shm-size")
}

func noReadOnly(s keyway.Spec) error {
	if !s.ReadOnly {
		return nil
	}
	return keyway.Errorf(keyway.Usage, "the host engine uses this machine's own files and cannot make them read-only").
		Advise(keyway.LeaveOut, "read-only")
}

func noOtherUser(s keyway.Spec) error {
	if s.User == "" || isMe(s.User) {
		return nil
	}
	return keyway.Errorf(keyway.Usage, "the host engine runs everything as the user who is logged in and cannot become %s", s.User).
		Advise(keyway.LeaveOut, "user")
}

// noLimits refuses limits that a cgroup or a container's first process would enforce. The processes
// of the host engine have the limits of a login to this machine.
func noLimits(s keyway.Spec) error {
	for _, limit := range []struct {
		option string
		given  bool
	}{{"cpus", s.CPUs != 0}, {"memory", s.Memory != 0}, {"ulimit", len(s.Ulimits) > 0}, {"pids-limit", s.PidsLimit != 0}} {
		if limit.given {
			return keyway.Errorf(keyway.Usage, "the host engine cannot limit a workspace (%s): its processes have the limits of a login here", keyway.NounOf(limit.option)).
				Advise(keyway.LeaveOut, limit.option)
		}
	}
	return nil
}

// noPrivileges refuses privileges of containers. Plain processes may do what their user may,
// including sudo.
func noPrivileges(s keyway.Spec) error {
	for _, privilege := range []struct {
		option string
		given  bool
	}{{"cap-add", len(s.CapAdd) > 0}, {"security-opt", s.NewPrivileges}} {
		if privilege.given {
			return keyway.Errorf(keyway.Usage, "the host engine neither gives nor takes privileges: its processes may do what their user may").
				Advise(keyway.LeaveOut, privilege.option)
		}
	}
	return nil
}

// noDevices refuses devices and other settings that only a container can have. Plain processes see
// the devices, files and volumes of their machine, and have their user's own home.
func noDevices(s keyway.Spec) error {
	for _, thing := range []struct {
		option string
		given  bool
		why    string
	}{
		{"device", len(s.Devices) > 0, "gives no devices: its processes use those that their user may"},
		{"secret", len(s.Secrets) > 0, "has no " + keyway.SecretsDir + " that is the workspace's alone"},
		{"ipc", s.IPC != "", "has no System V IPC and no /dev/shm but this machine's"},
		{"network", s.Network != "", "has no network but this machine's"},
		{"home-volume", s.HomeVolume != "", "has no volumes: the home directory is its user's own, and stays"},
	} {
		if thing.given {
			return keyway.Errorf(keyway.Usage, "the host engine %s", thing.why).Advise(keyway.LeaveOut, thing.option)
		}
	}
	return nil
}

func isMe(user string) bool {
	uid := strconv.Itoa(os.Getuid())
	return user == uid || user == uid+":"+strconv.Itoa(os.Getgid()) || user == os.Getenv("USER") || user == os.Getenv("LOGNAME")
}

// noMounts accepts a mount that changes nothing, so that one template works for both engines if the
// data is at the same path.
func noMounts(s keyway.Spec) error {
	for _, m := range s.Mounts {
		switch m.Kind {
		case keyway.MountVolume:
			return keyway.Errorf(keyway.Usage, "the host engine has no volumes, such as the one for %s", m.Target).
				Hint("use a directory of the place").Advise(keyway.UseContainers)
		case keyway.MountTmpfs:
			return keyway.Errorf(keyway.Usage, "the host engine cannot mount a tmpfs at %s", m.Target).
				Hint("use /dev/shm").Advise(keyway.UseContainers)
		}
		if m.Source != m.Target || m.ReadOnly {
			return keyway.Errorf(keyway.Usage, "the host engine cannot mount: processes see %s itself, and no %s", m.Source, m.Target).
				Advise(keyway.LeaveVolumeOut, m.Source, m.Target)
		}
		if _, err := os.Stat(m.Source); err != nil {
			return keyway.Errorf(keyway.Usage, "the mount's source is not there: %w", err).Hint("see what is at the place: ls %s", m.Source)
		}
	}
	return nil
}

func workdirExists(s keyway.Spec) error {
	if s.Workdir == "" {
		return nil
	}
	if st, err := os.Stat(s.Workdir); err != nil || !st.IsDir() {
		return keyway.Errorf(keyway.Usage, "there is no directory %s at the place for shells and jobs to start in", s.Workdir).
			Advise(keyway.MakeWorkdir)
	}
	return nil
}
