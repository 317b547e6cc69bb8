package template

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"keyway/internal/catalogue"
	"keyway/internal/keyway"
)

// freeWords lists the fields that have no limit; true leaves them to the user.
var freeWords = map[string]string{
	"command": catalogue.FreeCommand, "working_dir": catalogue.FreeWorkdir, "labels": catalogue.FreeLabels, "secrets": catalogue.FreeSecrets, "user": catalogue.FreeUser,
}

// override reads x-keyway.override into o.
func (d *document) override(n *yaml.Node, o *catalogue.Override) error {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		return d.errorf(n, "x-keyway.override has fields with limits").Hint("for example: override: {gpus: 4, shm_size: 64gb, environment: [SEED]}")
	}
	for _, p := range pairs(n) {
		if problem := limit(o, p.key.Value, resolve(p.value)); problem != "" {
			return d.errorf(p.key, "x-keyway.override.%s cannot have this value", p.key.Value).Hint("%s", problem)
		}
	}
	return nil
}

// limit sets one field of o. If the value is not permitted, problem says what is.
func limit(o *catalogue.Override, name string, v *yaml.Node) (problem string) {
	number := func(most float64) float64 {
		f, err := strconv.ParseFloat(v.Value, 64)
		if v.Kind != yaml.ScalarNode || err != nil || !(f > 0 && f <= most) {
			problem = "the most that may be asked for, a number above 0"
			return 0
		}
		return f
	}
	whole := func(most int64) int64 {
		f := number(float64(most))
		if f != math.Trunc(f) {
			problem = "the most that may be asked for, a whole number"
		}
		return int64(f)
	}
	bytes := func() int64 {
		size, err := parseSize(v.Value)
		if v.Kind != yaml.ScalarNode || err != nil {
			problem = "the most that may be asked for, a size such as 64gb"
		}
		return size
	}
	list := func() (all []string) {
		if err := v.Decode(&all); err != nil {
			problem = "a list, such as [SEED, \"HF_*\"]"
		}
		return all
	}
	switch name {
	case "gpus":
		o.GPUs = int(whole(maxGPUs))
	case "cpus":
		o.CPUs = number(1 << 16)
	case "mem_limit":
		o.Memory = bytes()
	case "shm_size":
		o.ShmSize = bytes()
	case "tmpfs":
		o.Tmpfs = bytes()
	case "pids_limit":
		o.PidsLimit = whole(1 << 31)
	case "environment":
		o.Env = list()
	case "volumes":
		o.Volumes = list()
	default:
		free := freeWords[name]
		o.Free = slices.DeleteFunc(o.Free, func(f string) bool { return f == free })
		switch {
		case v.Value == "true":
			o.Free = append(o.Free, free)
		case v.Value != "false":
			problem = "true, which leaves it to the user, or false"
		}
	}
	return problem
}

// FromPlace returns a template that a place's operators have published.
func FromPlace(place keyway.Place, t catalogue.Template) Template {
	return Template{Name: t.Name, Source: Place, File: string(place) + ":" + catalogue.Dir + "/" + t.Name + catalogue.Suffix, Published: &t}
}

func (t Template) published() Asked {
	a := Asked{Spec: t.Published.Spec, Extension: Extension{Setup: t.Published.Setup, Extensions: t.Published.Extensions, Override: t.Published.Override}}
	a.Spec.Published = true
	return a
}

// Publish returns the template in the form in which a place's operators publish it. image
// resolves the name of the template's image to a digest. Publish refuses settings that belong to
// a user or to this laptop.
func (t Template) Publish(w Where, image func(string) (string, error)) (catalogue.Template, error) {
	fail := func(format string, args ...any) *keyway.Error {
		return keyway.Errorf(keyway.BadConfig, "%s: "+format, append([]any{t.File}, args...)...)
	}
	w.Local = false
	a, err := t.Resolve(w)
	if err != nil {
		return catalogue.Template{}, err
	}
	switch s := a.Spec; {
	case t.Published != nil:
		return catalogue.Template{}, fail("%s is published already", t.Name)
	case len(s.Secrets) > 0:
		return catalogue.Template{}, fail("%s has secrets, and everybody at the place may read what is published", t.Name).
			Hint("leave them to the users: x-keyway: {override: {secrets: true}}").Advise(keyway.InsteadSecret)
	case s.ForwardAgent:
		return catalogue.Template{}, fail("%s asks for its users' agents, and that is theirs to say", t.Name).
			Hint("leave forward_agent out").Advise(keyway.InsteadForward)
	case s.Image == "":
		return catalogue.Template{}, fail("%s names no image", t.Name).Hint("for example: image: pytorch/pytorch:2.8.0-cuda12.6-cudnn9-devel")
	}
	if _, err := keyway.ParseName(t.Name); err != nil {
		return catalogue.Template{}, fail("a published template is called like a workspace: %w", err).HelpOf(err)
	}
	out := catalogue.Template{Format: catalogue.Format, Name: t.Name, Spec: a.Spec, Override: a.Override, Setup: a.Setup, Extensions: a.Extensions}
	out.Spec.Template = t.Name
	if out.Spec.Image, err = image(a.Spec.Image); err != nil {
		return catalogue.Template{}, err
	}
	if err := out.Validate(); err != nil {
		return catalogue.Template{}, fail("%s: %s", t.Name, strings.TrimSpace(err.Error())).HelpOf(err)
	}
	return out, nil
}
