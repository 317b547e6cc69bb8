package catalogue

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"keyway/internal/keyway"
)

// Check returns an error that names each change of the template in s that its Override does not
// allow. A Spec is compared field by field in its JSON form, so a field without a rule here cannot
// be changed.
func (t Template) Check(s keyway.Spec) error {
	want, err := flat(t.Spec)
	if err != nil {
		return err
	}
	got, err := flat(s)
	if err != nil {
		return err
	}
	var all []*keyway.Error
	for _, name := range keyway.Differing(want, got) {
		if slices.Contains(usersOwn, name) {
			continue
		}
		if judge, ok := rules[name]; !ok {
			all = append(all, fixed(name, want[name]))
		} else if e := judge(t.Override, t.Spec, s); e != nil {
			all = append(all, e)
		}
	}
	return t.together(all)
}

// flat returns the JSON of each field of a Spec by its name, without the parts that the user may
// choose. A field that is absent asks for nothing.
func flat(s keyway.Spec) (map[string]string, error) {
	s.GPUs.Wait = false
	data, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	err = json.Unmarshal(data, &fields)
	m := make(map[string]string, len(fields))
	for name, text := range fields {
		m[name] = string(text)
	}
	return m, err
}

// usersOwn lists the fields that are the user's alone: the workspace's name, the keys that may
// enter, agent forwarding, and that the Spec comes from a place's template.
var usersOwn = []string{"name", "authorizedKeys", "forwardAgent", "published"}

// rule judges a field that differs from the template's.
type rule func(o Override, want, got keyway.Spec) *keyway.Error

// rules are those of the fields that a user may have otherwise.
var rules = map[string]rule{
	"engine": otherEngine,
	"gpus":   moreGPUs,
	"cpus": func(o Override, want, got keyway.Spec) *keyway.Error {
		return atMost("cpus", got.CPUs > 0 && got.CPUs <= o.CPUs, number(want.CPUs), number(o.CPUs), number(got.CPUs))
	},
	"memory":    bytesOf("memory", func(o Override) int64 { return o.Memory }, func(s keyway.Spec) int64 { return s.Memory }),
	"shmSize":   bytesOf("shm-size", func(o Override) int64 { return o.ShmSize }, func(s keyway.Spec) int64 { return s.ShmSize }),
	"pidsLimit": bytesOf("pids-limit", func(o Override) int64 { return o.PidsLimit }, func(s keyway.Spec) int64 { return s.PidsLimit }),
	"env":       otherVariables,
	"unset": func(o Override, want, got keyway.Spec) *keyway.Error {
		if !maps.Equal(want.Env, got.Env) { // which is judged by its own rule, together with these
			return nil
		}
		return otherVariables(o, want, got)
	},
	"mounts": otherMounts,
	"homeVolume": func(o Override, want, got keyway.Spec) *keyway.Error {
		if o.takesVolume(got.HomeVolume) {
			return nil
		}
		return refuse("the home directory may not be in the volume %.80q", got.HomeVolume).Advise(keyway.AsTemplate, "home-volume")
	},
	"command": free(FreeCommand, "command"), "workdir": free(FreeWorkdir, "workdir"), "labels": free(FreeLabels, "labels"),
	"secrets": free(FreeSecrets, "secrets"), "user": free(FreeUser, "user"),
	"caller": func(o Override, want, got keyway.Spec) *keyway.Error {
		if got.User != want.User { // which is judged by its own rule
			return nil
		}
		return free(FreeUser, "caller")(o, want, got)
	},
}

// options are the options for fields whose option has another name.
var options = map[string]string{
	"shmSize": "shm-size", "pidsLimit": "pids-limit", "ulimits": "ulimit", "devices": "device", "mounts": "volume", "readOnly": "read-only",
	"secrets": "secret", "homeVolume": "home-volume", "capAdd": "cap-add", "newPrivileges": "security-opt", "labels": "label", "caller": "as-me",
}

// withoutOption are the fields for which there is no option.
var withoutOption = map[string]string{"command": "the command", "ports": "the list of ports"}

func refuse(format string, args ...any) *keyway.Error {
	return keyway.Errorf(keyway.NotAllowed, format, args...)
}

// fixed refuses a field that is the template's alone.
func fixed(name, want string) *keyway.Error {
	if name == "env" || name == "unset" || name == "secrets" || want == "" {
		want = "nothing"
	}
	const format = "users may not change %s: the template says %.200s"
	if noun, ok := withoutOption[name]; ok {
		return refuse(format, noun, want)
	}
	option := cmp.Or(options[name], name)
	return refuse(format, keyway.NounOf(option), want).Advise(keyway.AsTemplate, option)
}

func free(field, name string) rule {
	return func(o Override, want, _ keyway.Spec) *keyway.Error {
		if slices.Contains(o.Free, field) {
			return nil
		}
		said, err := flat(want)
		if err != nil {
			return keyway.AsError(err)
		}
		return fixed(name, said[name])
	}
}

// atMost refuses a number that is neither the template's own nor below a limit.
func atMost(option string, ok bool, own, limit, asked string) *keyway.Error {
	switch {
	case ok:
		return nil
	case limit == "0":
		if own == "0" {
			own = "none"
		}
		return refuse("%s is asked for (%s), which users may not change: the template says %s", asked, keyway.NounOf(option), own).Advise(keyway.AsTemplate, option)
	case asked == "0" || asked == "-1":
		return refuse("no limit is asked for (%s), and %s is the most", keyway.NounOf(option), limit).Advise(keyway.Example, option, limit)
	}
	return refuse("%s is asked for (%s), and %s is the most", asked, keyway.NounOf(option), limit).Advise(keyway.Example, option, limit)
}

func number(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) }

func bytesOf(option string, limit func(Override) int64, of func(keyway.Spec) int64) rule {
	return func(o Override, want, got keyway.Spec) *keyway.Error {
		text := Size
		if option == "pids-limit" {
			text = func(n int64) string { return strconv.FormatInt(n, 10) }
		}
		n := of(got)
		return atMost(option, n > 0 && n <= limit(o), text(of(want)), text(limit(o)), text(n))
	}
}

// Size formats a number of bytes as options take it: 64gb, 512mb, 100.
func Size(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "gb"}, {1 << 20, "mb"}, {1 << 10, "kb"}} {
		if n != 0 && n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(n, 10)
}

func moreGPUs(o Override, want, got keyway.Spec) *keyway.Error {
	n := max(got.GPUs.Count, len(got.GPUs.IDs))
	ok := o.GPUs > 0 && !got.GPUs.All && n <= o.GPUs
	return atMost("gpus", ok, want.GPUs.String(), strconv.Itoa(o.GPUs), got.GPUs.String())
}

// otherEngine allows those that make the container which the template describes. With
// plain processes nothing of it would hold.
func otherEngine(_ Override, want, got keyway.Spec) *keyway.Error {
	if want.Engine == "" && (got.Engine == "" || keyway.UsesImages(got.Engine)) {
		return nil
	}
	said := want.Engine
	if said == "" {
		said = "containers"
	}
	return refuse("users may not choose the engine %.40s: the template is for %s", got.Engine, said).Advise(keyway.AsTemplate, "engine")
}

// otherVariables reports only names: values may be secrets.
func otherVariables(o Override, want, got keyway.Spec) *keyway.Error {
	for _, name := range keyway.Differing(variables(want), variables(got)) {
		if !matches(o.Env, name) {
			return refuse("users may not set the variable %.80q; they may set: %s", name, listed(o.Env)).Advise(keyway.AsTemplate, "env")
		}
	}
	return nil
}

// variables returns the variables that s names, and for one that is taken away a value that none has.
func variables(s keyway.Spec) map[string]string {
	all := map[string]string{}
	for _, name := range s.Unset {
		all[name] = "\x00"
	}
	maps.Copy(all, s.Env)
	return all
}

// matches reports whether a name is one of the list, or begins as an item of it does
// that ends in *.
func matches(list []string, name string) bool {
	return slices.ContainsFunc(list, func(item string) bool {
		begin, open := strings.CutSuffix(item, "*")
		return item == name || open && strings.HasPrefix(name, begin)
	})
}

func (o Override) takesVolume(name string) bool {
	return matches(slices.DeleteFunc(slices.Clone(o.Volumes), path.IsAbs), name)
}

// otherMounts demands all mounts of the template, and judges each further one.
func otherMounts(o Override, want, got keyway.Spec) *keyway.Error {
	for _, m := range want.Mounts {
		if !slices.Contains(got.Mounts, m) {
			option := "volume"
			if slices.ContainsFunc(got.Mounts, func(o keyway.Mount) bool { return o.Target == m.Target && o.Kind == keyway.MountTmpfs }) {
				option = "tmpfs"
			}
			return refuse("the template mounts %s, and something else is asked for there", m).Advise(keyway.AsTemplate, option)
		}
	}
	for _, m := range got.Mounts {
		if slices.Contains(want.Mounts, m) {
			continue
		}
		if e := o.mount(m); e != nil {
			return e
		}
	}
	return nil
}

func (o Override) mount(m keyway.Mount) *keyway.Error {
	switch m.Kind {
	case keyway.MountTmpfs:
		if m.Size > 0 && m.Size <= o.Tmpfs {
			return nil
		}
		return atMost("tmpfs", false, "none", sizeAt(m.Target, o.Tmpfs), sizeAt(m.Target, m.Size))
	case keyway.MountVolume:
		if o.takesVolume(m.Source) {
			return nil
		}
	case keyway.MountBind:
		if slices.Contains(o.Volumes, m.Source) || m.ReadOnly && slices.Contains(o.Volumes, m.Source+":ro") {
			return nil
		}
		if slices.Contains(o.Volumes, m.Source+":ro") {
			return refuse("%.200s may only be mounted read-only", m.Source).Advise(keyway.Example, "volume", m.Source+":"+m.Target+":ro")
		}
	}
	return refuse("users may not mount %.200q; they may mount: %s", m.Source, listed(o.Volumes)).Advise(keyway.AsTemplate, "volume")
}

func sizeAt(target string, n int64) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%s:size=%s", target, Size(n))
}

// maxTold bounds the problems that are reported at once.
const maxTold = 8

// together joins several violations into one error.
func (t Template) together(all []*keyway.Error) error {
	if len(all) == 0 {
		return nil
	}
	e := &keyway.Error{Kind: keyway.NotAllowed}
	var said []string
	for _, p := range all[:min(len(all), maxTold)] {
		said = append(said, "the place's template "+t.Name+": "+p.Message)
		e.Advice = append(e.Advice, p.Advice...)
	}
	e.Message = strings.Join(said, "\n")
	return e.Advise(keyway.SeePlaceTemplates)
}
