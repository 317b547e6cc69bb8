// Package compat decides before anything is pulled whether a workspace will run at a place. It is
// pure: facts in, findings out. It gathers no fact itself. An unknown fact leads to no finding, so
// that a check never prevents a workspace that would have run. Begin with Check.
package compat

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"keyway/internal/keyway"
)

// Finding is something that stands in the way of a workspace, or will later.
type Finding struct {
	// Fatal findings keep the workspace from running; others are warnings.
	Fatal bool        `json:"fatal"`
	Kind  keyway.Kind `json:"kind"`
	Text  string      `json:"text"`
	Fix   string      `json:"fix"`
	// Host is the place whose words Text and Fix are; empty: they are keyway's own.
	Host keyway.Place `json:"host,omitempty"`
	// Advice has further steps, which the face puts into words.
	Advice []keyway.Advice `json:"-"`
}

// Asked is the input of the check.
type Asked struct {
	Spec  keyway.Spec
	Place keyway.Place
	Facts keyway.Facts
	// Image has the image's facts from a registry; zero: it was not asked.
	Image keyway.ImageFacts
	// GPUs is the place's report of its GPUs; nil: it was not asked, or NoGPUs is the reason.
	GPUs   *keyway.GPUReport
	NoGPUs *keyway.Error
	// Now is the laptop's clock, when the place told its own.
	Now time.Time
	// Arch is the architecture that the place must have; empty: any.
	Arch string
}

// image returns the image's facts from the place or, if the place does not have it, from the
// registry.
func (a Asked) image() keyway.ImageFacts {
	if a.Facts.Engine.Image.Present {
		return a.Facts.Engine.Image
	}
	return a.Image
}

// env returns the value of a variable in the workspace.
func (a Asked) env(name string) string {
	return a.variables()[name]
}

// variables returns the variables in the workspace, by name.
func (a Asked) variables() map[string]string {
	env := map[string]string{}
	for _, kv := range a.image().Env {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	for _, name := range a.Spec.Unset {
		delete(env, name)
	}
	maps.Copy(env, a.Spec.Env)
	return env
}

// Check returns everything that keeps the workspace from running, fatal findings first.
func Check(a Asked) []Finding {
	var all []Finding
	for _, look := range []func(Asked) []Finding{engine, refused, architecture, driver, gpus, requirements, builtFor, runtime, reload, shm, limits, disk, mounts, clock, reach} {
		all = append(all, look(a)...)
	}
	slices.SortStableFunc(all, func(x, y Finding) int {
		switch {
		case x.Fatal == y.Fatal:
			return 0
		case x.Fatal:
			return -1
		}
		return 1
	})
	return all
}

func fatal(kind keyway.Kind, fix, format string, args ...any) []Finding {
	return []Finding{{Fatal: true, Kind: kind, Text: fmt.Sprintf(format, args...), Fix: fix}}
}

func warning(kind keyway.Kind, fix, format string, args ...any) []Finding {
	return []Finding{{Kind: kind, Text: fmt.Sprintf(format, args...), Fix: fix}}
}

// advised returns a finding with a step that the face puts into words.
func advised(found []Finding, step keyway.Step, about ...string) []Finding {
	found[0].Advice = append(found[0].Advice, keyway.AdviseTo(step, about...)...)
	return found
}

func engine(a Asked) []Finding {
	for _, why := range []*keyway.Error{a.Facts.NoGuest, a.Facts.Engine.Why} {
		if why != nil {
			return saidOf(why)
		}
	}
	return nil
}

// saidOf returns the finding for an error.
func saidOf(why *keyway.Error) []Finding {
	return []Finding{{Fatal: true, Kind: why.Kind, Text: why.Message, Fix: why.Next, Advice: why.Advice, Host: why.Host}}
}

// refused returns what in the Spec the engine refuses. For a mount that is absent, it also says
// whether this laptop has it.
func refused(a Asked) []Finding {
	if a.Facts.Refused == nil || slices.ContainsFunc(mounts(a), func(f Finding) bool { return f.Fatal }) {
		return nil
	}
	return saidOf(a.Facts.Refused)
}

// OtherArch returns the error for a place of another architecture than the template says, or nil.
func OtherArch(asked, have string, place keyway.Place) *keyway.Error {
	if asked == "" || have == "" || asked == have {
		return nil
	}
	return keyway.Errorf(keyway.ImageNotFound, "the template's platform is linux/%s, and %s is linux/%s", asked, place, have).
		Hint("leave platform out, if its image is built for linux/%s, too", have).Advise(keyway.InsteadPlace)
}

func architecture(a Asked) []Finding {
	if why := OtherArch(a.Arch, a.Facts.Arch, a.Place); why != nil {
		return saidOf(why)
	}
	have := a.image().Arch
	if len(have) == 0 || a.Facts.Arch == "" || !a.Facts.Engine.Images || slices.Contains(have, a.Facts.Arch) {
		return nil
	}
	return fatal(keyway.ImageNotFound, "take an image that is built for linux/"+a.Facts.Arch,
		"the image %s is built for %s, and %s is %s", a.Spec.Image, strings.Join(have, ", "), a.Place, a.Facts.Arch)
}

// runtime checks that the place can give GPUs to containers: by NVIDIA's runtime, its hook, or
// CDI.
func runtime(a Asked) []Finding {
	e := a.Facts.Engine
	if a.Spec.GPUs.None() || !e.Images || e.Why != nil || e.Runtime || e.CDI {
		return nil
	}
	if e.Name == keyway.EnginePodman {
		return fatal(keyway.NoGPU, "at the place: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
			"Podman at %s has no GPUs: NVIDIA's are not described for it (CDI)", a.Place)
	}
	return fatal(keyway.NoGPU, "install nvidia-container-toolkit there, then: sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker",
		"Docker at %s cannot give GPUs to containers: neither NVIDIA's runtime nor a CDI description is there", a.Place)
}

// reload warns that systemd, when it reads its configuration again, takes GPUs away from
// containers whose devices it does not know by name.
func reload(a Asked) []Finding {
	e := a.Facts.Engine
	if a.Spec.GPUs.None() || !e.Systemd || e.DevChar || e.CDI || !e.Runtime {
		return nil
	}
	return warning(keyway.NoGPU, "at the place: sudo nvidia-ctk system create-dev-char-symlinks --create-all",
		"a systemctl daemon-reload at %s takes the GPUs away from containers that run (Unknown Error in NVML)", a.Place)
}

// leastShm is the shared memory that a data loader's workers usually need; daemons give 64 MiB.
const leastShm = 1 << 30

func shm(a Asked) []Finding {
	s := a.Spec
	switch {
	case !a.Facts.Engine.Images:
		return nil
	case s.ShmSize > 0 && a.Facts.Memory > 0 && s.ShmSize > a.Facts.Memory:
		return advised(warning(keyway.Usage, "", "%s of shared memory are asked for, and %s has %s of memory", gib(s.ShmSize), a.Place, gib(a.Facts.Memory)),
			keyway.LessShm, gib(a.Facts.Memory/2))
	case s.GPUs.None() || s.IPC == keyway.IPCHost || s.ShmSize >= leastShm || s.ShmSize == 0 && s.Template != "":
		return nil
	}
	size := "64 MiB"
	if s.ShmSize > 0 {
		size = gib(s.ShmSize)
	}
	return advised(warning(keyway.Usage, "", "%s of shared memory are too few for the workers of a data loader: they end with a bus error", size), keyway.MoreShm, "16gb")
}

// gib returns a size in the form that people read and --shm-size takes.
func gib(n int64) string {
	if n < 1<<30 {
		return strconv.FormatInt(n>>20, 10) + "mb"
	}
	return strconv.FormatInt(n>>30, 10) + "gb"
}

func limits(a Asked) []Finding {
	var all []Finding
	if n := a.Facts.Engine.CPUs; n > 0 && a.Spec.CPUs > float64(n) {
		all = advised(fatal(keyway.Usage, "", "%v processors are asked for, and %s has %d", a.Spec.CPUs, a.Place, n), keyway.ChangeOrLeaveOut, "cpus")
	}
	if !a.Facts.Engine.Rootless {
		return all
	}
	for _, u := range a.Spec.Ulimits {
		hard, known := a.Facts.HardLimits[u.Name]
		switch beyond := known && hard >= 0 && (u.Hard > hard || u.Hard < 0); {
		case beyond && a.Spec.Template != "": // which is for many places, and gets what there is
			all = append(all, warning(keyway.Usage, "have the administrator of the place raise it in /etc/security/limits.conf",
				"the engine at %s is your own and cannot raise %s above your limit of %d, which the workspace then has", a.Place, u.Name, hard)...)
		case beyond:
			all = append(all, advised(fatal(keyway.Usage, "", "the engine at %s is your own and cannot raise %s above your limit of %d", a.Place, u.Name, hard),
				keyway.LowerUlimit, u.Name, strconv.FormatInt(hard, 10))...)
		}
	}
	return all
}

// unpacked is the usual ratio of an image's size on disk to its download size.
const unpacked = 2.5

func disk(a Asked) []Finding {
	free, size := a.Facts.Engine.Free, a.Image.Size
	if a.Facts.Engine.Image.Present || free <= 0 || size <= 0 || !a.Facts.Engine.Images {
		return nil
	}
	fix := fmt.Sprintf("see what takes it, at the place: %[1]s system df; and give some back: %[1]s system prune", a.Facts.Engine.Name)
	switch {
	case size > free:
		return fatal(keyway.NoSpace, fix, "the image has %s, and %s has %s left for images", gib(size), a.Place, gib(free))
	case float64(size)*unpacked > float64(free):
		return warning(keyway.NoSpace, fix, "the image has %s packed, and %s has %s left for images: unpacked it may not fit", gib(size), a.Place, gib(free))
	}
	return nil
}

func mounts(a Asked) []Finding {
	var all []Finding
	for _, m := range a.Spec.Mounts {
		i := slices.IndexFunc(a.Facts.Mounts, func(f keyway.MountFacts) bool { return f.Source == m.Source })
		if m.Kind != keyway.MountBind || i < 0 {
			continue
		}
		switch f := a.Facts.Mounts[i]; {
		case !f.Exists:
			all = append(all, fatal(keyway.Usage, "make it there, or correct the path", "%s has no %s to mount at %s", a.Place, m.Source, m.Target)...)
		case !f.Readable && a.Spec.Caller:
			all = append(all, fatal(keyway.Usage, "ask its owner for the right to read it: ls -ld "+m.Source,
				"you may not read %s at %s, and the workspace runs as you (uid %d)", m.Source, a.Place, a.Facts.UID)...)
		case !f.Writable && a.Spec.Caller && !m.ReadOnly:
			all = append(all, advised(warning(keyway.Usage, "",
				"you may not write to %s at %s, and the workspace runs as you (uid %d)", m.Source, a.Place, a.Facts.UID),
				keyway.MountReadOnly, m.Source, m.Target)...)
		}
	}
	return all
}

// skew is the difference of two clocks above which certificates and caches misbehave.
const skew = 2 * time.Minute

func clock(a Asked) []Finding {
	if a.Facts.Time.IsZero() || a.Now.IsZero() {
		return nil
	}
	off := a.Facts.Time.Sub(a.Now)
	if off.Abs() <= skew {
		return nil
	}
	word := "behind"
	if off > 0 {
		word = "ahead of"
	}
	return warning(keyway.Other, "at the place, or here: sudo timedatectl set-ntp true", "the clock of %s is %s %s this laptop's", a.Place, off.Abs().Round(time.Second), word)
}

func reach(a Asked) []Finding {
	e := a.Facts.Engine
	if e.RemoteDaemon == "" || len(a.Spec.Mounts) == 0 {
		return nil
	}
	return warning(keyway.Usage, "mount what is there, on the engine's own machine", "mounts are of the machine that the engine runs on; %s says: “%s”", a.Place, e.RemoteDaemon)
}
