package docker

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/engine/docker/inside"
	"keyway/internal/keyway"
)

// errRemoteDaemon means that the daemon does not see the Home: another mode is needed.
var errRemoteDaemon = errors.New("the daemon does not see this machine's files")

// refusal explains to the user why a daemon did not make or start the container for s. Refusals
// differ only in their messages; those of dockerd 20.10 to 29, containerd, runc, crun and Podman 4
// are known here.
func (e *Engine) refusal(ctx context.Context, s keyway.Spec, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	said := daemon.Says(err)
	low := strings.ToLower(said)
	for _, f := range []func(daemon.Identity, keyway.Spec, string, string) error{nameTaken, gpuRefused, userUnknown, badSharing, badLimit, mountMissing, badWorkdir} {
		if refused := f(e.client.Known(), s, said, low); refused != nil {
			return refused
		}
	}
	if e.missesHome(s, low) {
		return errRemoteDaemon
	}
	if daemon.IsNotFound(err) && strings.Contains(low, "image") {
		return keyway.Errorf(keyway.ImageNotFound, "the image %s was removed while the workspace was made", s.Image).Hint("try again")
	}
	return e.client.Explain(ctx, err)
}

func nameTaken(_ daemon.Identity, s keyway.Spec, _, low string) error {
	if strings.Contains(low, "is already in use by") {
		return engine.NameTaken(s.Name)
	}
	return nil
}

// gpuRefused recognizes refusals of GPUs: by dockerd, which has no driver for them; by NVIDIA's
// hook, which does not know the GPU; by CDI.
func gpuRefused(d daemon.Identity, s keyway.Spec, said, low string) error {
	if s.GPUs.None() {
		return nil
	}
	if _, hook, found := strings.Cut(said, "stderr: "); found {
		said = hook // only the hook's own message is informative
	}
	switch {
	case strings.Contains(low, "could not select device driver"), strings.Contains(low, "failed to discover gpu vendor"):
		return keyway.Errorf(keyway.NoGPU, "%s cannot give GPUs (%s) to containers at this place: %s", d.Title(), s.GPUs, said).
			Advise(keyway.InstallGPUs, "install nvidia-container-toolkit there, then: sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker")
	case strings.Contains(low, "unknown device"), strings.Contains(low, "unresolvable cdi devices"):
		return keyway.Errorf(keyway.NoGPU, "this place has no such GPU (%s): %s", s.GPUs, said).
			Hint("see which there are, at the place: nvidia-smi -L").Advise(keyway.SeeGPUs)
	case strings.Contains(low, "nvidia"):
		return keyway.Errorf(keyway.NoGPU, "the GPUs (%s) cannot be used: %s", s.GPUs, said).
			Hint("see whether the driver works, at the place: nvidia-smi").Advise(keyway.WithoutGPUs)
	}
	return nil
}

func userUnknown(_ daemon.Identity, s keyway.Spec, said, _ string) error {
	return cmp.Or(inside.UserUnknown(s, said), inside.TooFewProcesses(s, said))
}

// badSharing recognizes messages about an unknown network and about namespaces that cannot be
// shared.
func badSharing(d daemon.Identity, s keyway.Spec, said, low string) error {
	switch network, ipc := s.Network != "" && strings.Contains(low, "network"), s.IPC != "" && strings.Contains(low, "ipc"); {
	case network && (strings.Contains(low, "not found") || strings.Contains(low, "no such network") || strings.Contains(low, "unable to find network")):
		return keyway.Errorf(keyway.Usage, "%s has no network %s at this place", d.Title(), s.Network).
			Hint("see which there are, at the place: %s network ls", d.Name())
	case network:
		return keyway.Errorf(keyway.Usage, "%s cannot give the workspace the network %s: %s", d.Title(), s.Network, said).
			Advise(keyway.ChangeOrLeaveOut, "network")
	case ipc:
		return keyway.Errorf(keyway.Usage, "%s cannot give the workspace the IPC namespace %s: %s", d.Title(), s.IPC, said).
			Advise(keyway.ChangeOrLeaveOut, "ipc")
	}
	return nil
}

const ulimitOption = "ulimit"

// limit is a limit of a Spec, and the words with which daemons refer to it.
type limit struct {
	option string
	asked  bool
	words  []string
}

func limits(r keyway.Resources) []limit {
	return []limit{
		{"cpus", r.CPUs > 0, []string{"cpu"}},
		{"memory", r.Memory > 0, []string{"memory"}},
		{ulimitOption, len(r.Ulimits) > 0, []string{"ulimit", "rlimit"}},
		{"pids-limit", r.PidsLimit > 0, []string{"pids"}},
	}
}

// speaksOf returns the requested limit that a daemon's message is about.
func speaksOf(r keyway.Resources, low string) (limit, bool) {
	for _, l := range limits(r) {
		if l.asked && slices.ContainsFunc(l.words, func(w string) bool { return strings.Contains(low, w) }) {
			return l, true
		}
	}
	return limit{}, false
}

// badLimit recognizes limits that are out of range or unknown to the daemon.
func badLimit(d daemon.Identity, s keyway.Spec, said, low string) error {
	wrong := slices.ContainsFunc([]string{"invalid", "minimum", "range of", "not available", "permitted", "error setting", "not support"},
		func(w string) bool { return strings.Contains(low, w) })
	l, found := speaksOf(s.Resources, low)
	if !wrong || !found {
		return nil
	}
	return keyway.Errorf(keyway.Usage, "%s refuses what is asked for (%s): %s", d.Title(), keyway.NounOf(l.option), said).
		Advise(keyway.ChangeOrLeaveOut, l.option)
}

// discarded refuses a container that the daemon has made without a requested limit. The daemon
// reports that only in a warning.
func discarded(d daemon.Identity, r keyway.Resources, warnings []string) error {
	for _, said := range warnings {
		low := strings.ToLower(said)
		if l, found := speaksOf(r, low); found && strings.Contains(low, "discarded") {
			return keyway.Errorf(keyway.Usage, "%s cannot do what is asked for (%s) at this place: %.200s", d.Title(), keyway.NounOf(l.option), said).
				Advise(keyway.LeaveOutOrCgroup, l.option)
		}
	}
	return nil
}

// readOnlyAbove is the message of runtimes about a mount point that they cannot make.
const readOnlyAbove = "read-only file system"

func noMountPoint(m keyway.Mount) error {
	return keyway.Errorf(keyway.Usage, "%s cannot be mounted at %s: that does not exist, and cannot be made in a read-only mount", cmp.Or(m.Source, m.Kind), m.Target).
		Hint("make it at the place first, or mount the directory above it without :ro")
}

// mountMissing finds the user's mount that the daemon's message is about.
func mountMissing(_ daemon.Identity, s keyway.Spec, said, low string) error {
	missing := strings.Contains(low, "does not exist") || strings.Contains(low, "no such file or directory")
	refused := missing || strings.Contains(low, "not shared") || strings.Contains(low, "denied") || strings.Contains(low, "not permitted") ||
		strings.Contains(low, "not a directory") || strings.Contains(low, "invalid mount") || strings.Contains(low, "cannot be mounted") ||
		strings.Contains(low, readOnlyAbove)
	if !refused {
		return nil
	}
	for _, m := range s.Mounts {
		source, target := mentions(said, m.Source), mentions(said, m.Target)
		switch {
		case source && missing:
			return noSource(m)
		case (source || target) && strings.Contains(low, readOnlyAbove):
			return noMountPoint(m)
		case source || target:
			return keyway.Errorf(keyway.Usage, "%s cannot be mounted at %s: %s", cmp.Or(m.Source, m.Kind), m.Target, said).
				Hint("see what both are: a directory goes onto a directory, a file onto a file")
		}
	}
	return nil
}

// mentions reports whether path occurs in text as a whole, not as the beginning of a longer path.
func mentions(text, path string) bool {
	path = strings.TrimRight(path, "/")
	if path == "" {
		return false
	}
	found, err := regexp.MatchString(regexp.QuoteMeta(path)+`/?([^A-Za-z0-9._/-]|\.?$)`, text)
	return err == nil && found
}

func badWorkdir(_ daemon.Identity, s keyway.Spec, said, low string) error {
	if s.Workdir == "" {
		return nil
	}
	if strings.Contains(low, "chdir to cwd") || strings.Contains(low, "cwd must be") || strings.Contains(low, "working directory") ||
		strings.Contains(low, "workdir") || mentions(said, s.Workdir) {
		return keyway.Errorf(keyway.Usage, "shells and jobs cannot start in %s: %s", s.Workdir, said).
			Advise(keyway.OtherWorkdir, s.Image)
	}
	return nil
}

// missesHome reports whether the daemon's message is about a directory of keyway's.
func (e *Engine) missesHome(s keyway.Spec, low string) bool {
	ours := strings.Contains(low, strings.ToLower(string(e.homes.Home(s.Name)))) || strings.Contains(low, strings.ToLower(e.guest.Dir))
	for _, sign := range []string{"does not exist", "no such file or directory", "mounts denied", "not shared", "permission denied", "not permitted"} {
		if ours && strings.Contains(low, sign) {
			return true
		}
	}
	return false
}
