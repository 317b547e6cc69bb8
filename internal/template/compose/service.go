package compose

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/template/document"
)

// Service is a service of a Compose file.
type Service struct {
	Document *document.Document
	Name     string
	Dir      string // of the file; empty for a built-in template, which has no files beside it
	Confined bool   // what it names beside it is read below Dir only
}

// source is a Compose file of which a service is read.
type source struct{ *document.Document }

// Where says where the workspace will be, and gives the values of variables.
type Where struct {
	Local  bool // the place is this machine
	Home   string
	Lookup func(string) (string, bool) // the laptop's environment
}

// Asked is the result of resolving a template.
type Asked struct {
	// Spec has neither name, engine nor keys.
	Spec keyway.Spec
	Extension
	// Variables lists the variables of this laptop that were filled in.
	Variables []string
	// Arch is the architecture that the place must have, as Go calls it; empty: any.
	Arch string
}

// Resolve returns what the service requests. Its errors name the file and the line.
func (s Service) Resolve(w Where) (Asked, error) {
	d := source{s.Document}
	names, err := d.chain(s.Name)
	if err != nil {
		return Asked{}, err
	}
	env, err := environment{dir: s.Dir, home: w.Home, lookup: w.Lookup, confined: s.Confined, fault: new(error)}.dotEnv()
	if err != nil {
		return Asked{}, err
	}
	if err := d.check(names, env.lookup); err != nil {
		return Asked{}, err
	}
	service, err := d.load(s.Name, names, env.lookup)
	if err = cmp.Or(*env.fault, err); err != nil {
		return Asked{}, err
	}
	a, err := d.asked(names, service, env, w)
	if err = cmp.Or(*env.fault, err); err != nil {
		return Asked{}, err
	}
	return a, nil
}

func (d source) asked(names []string, service loaded, env environment, w Where) (Asked, error) {
	taken := map[string]bool{}
	inner := env.lookup
	env.lookup = func(name string) (string, bool) {
		v, ok := inner(name)
		taken[name] = taken[name] || ok
		return v, ok
	}
	c := converter{source: d, service: service, name: names[0], env: env, local: w.Local}
	a := Asked{Variables: service.used}
	var err error
	if a.Spec, err = c.spec(); err != nil {
		return Asked{}, err
	}
	if a.Arch, err = c.architecture(); err != nil {
		return Asked{}, err
	}
	if a.Extension, err = d.extension(names); err != nil {
		return Asked{}, err
	}
	if d.Setup != nil {
		if a.Setup, err = d.Setup(env.lookup); err != nil {
			return Asked{}, err
		}
		if len(a.Setup) > document.MaxSetup {
			return Asked{}, d.Errorf(nil, "its commands are longer than %d KiB", document.MaxSetup>>10).Hint("put a script into the image, and call it")
		}
	}
	if strings.TrimSpace(a.Setup) == "" {
		a.Setup = ""
	}
	for name := range taken {
		if taken[name] && !slices.Contains(a.Variables, name) {
			a.Variables = append(a.Variables, name)
		}
	}
	slices.Sort(a.Variables)
	if err := a.extend(d.Document); err != nil {
		return Asked{}, err
	}
	return a, d.validate(names[0], a.Spec)
}

// extend puts what x-keyway requests into the Spec.
func (a *Asked) extend(d *document.Document) error {
	a.Spec.ForwardAgent = a.ForwardAgent
	switch {
	case a.As == asCaller && a.Spec.User != "":
		return keyway.Errorf(keyway.BadConfig, "%s: user and x-keyway.as: caller exclude one another", d.File).Hint("keep one of the two")
	case a.As != asImage && a.Spec.User == "":
		a.Spec.Caller = true
	}
	if a.Home != "" {
		a.Spec.HomeVolume = a.Home
	}
	return nil
}

// validate checks the Spec's own bounds, and reports errors in terms of the service of that name.
func (d source) validate(name string, s keyway.Spec) error {
	s.Name, s.AuthorizedKeys = "template", []string{"key"}
	err := s.Validate()
	var said *keyway.Error
	if errors.As(err, &said) {
		return keyway.Errorf(keyway.BadConfig, "%s: %s: %s", d.File, name, said.Message).HelpOf(said)
	}
	return err
}
