package template

import (
	"strings"

	"keyway/internal/catalogue"
	"keyway/internal/keyway"
	"keyway/internal/template/compose"
)

// FromPlace returns a template that a place's operators have published.
func FromPlace(place keyway.Place, t catalogue.Template) Template {
	return Template{Name: t.Name, Source: Place, File: string(place) + ":" + catalogue.Dir + "/" + t.Name + catalogue.Suffix, Published: &t}
}

func (t Template) published() compose.Asked {
	a := compose.Asked{Spec: t.Published.Spec, Extension: compose.Extension{Setup: t.Published.Setup, Extensions: t.Published.Extensions, Override: t.Published.Override}}
	a.Spec.Published = true
	return a
}

// Publish returns the template in the form in which a place's operators publish it. image
// resolves the name of the template's image to a digest. Publish refuses settings that belong to
// a user or to this laptop.
func (t Template) Publish(w compose.Where, image func(string) (string, error)) (catalogue.Template, error) {
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
	case a.Arch != "":
		return catalogue.Template{}, fail("%s has a platform, and a place has one architecture", t.Name).Hint("leave platform out")
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
