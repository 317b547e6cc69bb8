// Package catalogue holds the templates that a place's operators publish: the Spec of a workspace
// for each, and the changes that users may make. It parses no Compose file and opens no file, so
// the node and the laptop reach the same decisions. Users' own templates are in package template.
// Begin with Catalogue.Check.
package catalogue

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"keyway/internal/keyway"
)

// Dir is the directory of a place's catalogue: NAME.json for each template.
const Dir = "/etc/keyway/templates"

// Suffix is the suffix of a template's file.
const Suffix = ".json"

// Format is the version of a template's file that this program writes and reads.
const Format = 1

// Bounds on a catalogue.
const (
	MaxFile      = 256 << 10 // bytes of a template's file
	MaxTemplates = 128
	maxSetup     = 32 << 10
	maxList      = 256 // items of a list of an Override, and editors' extensions
	maxItem      = 4 << 10
)

// Template is a published template, in the form of its file.
type Template struct {
	Format int    `json:"keyway"`
	Name   string `json:"name"`
	// Only means that the place makes workspaces only from its templates.
	Only bool `json:"only,omitempty"`
	// Spec is the Spec for workspaces. It names its image by digest, and contains no settings
	// of a user: no name, keys, secrets or forwarded agent.
	Spec keyway.Spec `json:"spec"`
	// Override lists the settings that a user may change.
	Override Override `json:"override"`
	// Setup is a script that runs in the workspace once it is made.
	Setup string `json:"setup,omitempty"`
	// Extensions are those of editors that are offered for the workspace.
	Extensions []string `json:"extensions,omitempty"`
}

// Override lists the settings of a template that a user may change. The zero value allows
// nothing. A number is the greatest value that users may request, and the default if neither
// the template nor the user sets a limit. 0 means that the template's own value holds.
type Override struct {
	GPUs      int     `json:"gpus,omitempty"`
	CPUs      float64 `json:"cpus,omitempty"`
	Memory    int64   `json:"memory,omitempty"`    // bytes
	ShmSize   int64   `json:"shmSize,omitempty"`   // bytes
	PidsLimit int64   `json:"pidsLimit,omitempty"` //
	Tmpfs     int64   `json:"tmpfs,omitempty"`     // bytes of each further tmpfs
	// Env are names of variables that may be set. One that ends in * stands for all that
	// begin with the rest.
	Env []string `json:"env,omitempty"`
	// Volumes are directories of the place (/data, /data:ro) and names of volumes that
	// may be mounted; a name may end in *. A directory stands for itself alone: below
	// one that its users write to, a symbolic link leads anywhere.
	Volumes []string `json:"volumes,omitempty"`
	// Free are the fields that have no limit, of FreeFields.
	Free []string `json:"free,omitempty"`
}

// The fields of a Spec that an Override may leave to the user.
const (
	FreeCommand = "command"
	FreeWorkdir = "workdir"
	FreeLabels  = "labels"
	FreeSecrets = "secrets"
	FreeUser    = "user"
)

// FreeFields are all of them.
var FreeFields = []string{FreeCommand, FreeWorkdir, FreeLabels, FreeSecrets, FreeUser}

// Parse reads a template's file. It refuses fields that it does not know: such a field
// could be a limit, and would not hold.
func Parse(data []byte) (Template, error) {
	var t Template
	if len(data) > MaxFile {
		return t, keyway.Errorf(keyway.BadConfig, "it is larger than %d KiB", MaxFile>>10)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return Template{}, keyway.Errorf(keyway.BadConfig, "it is not what keyway templates publish writes: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Template{}, keyway.Errorf(keyway.BadConfig, "something follows the template in it")
	}
	if err := t.Validate(); err != nil {
		return Template{}, err
	}
	t.Spec = t.limited()
	return t, nil
}

// limited returns the Spec with the limits of the Override where it has none of its own, so that a
// request without an option gets no more than the largest permitted value. Plain processes have no
// such limits.
func (t Template) limited() keyway.Spec {
	s := t.Spec
	if s.Engine != "" && !keyway.UsesImages(s.Engine) {
		return s
	}
	s.CPUs = cmp.Or(s.CPUs, t.Override.CPUs)
	s.Memory = cmp.Or(s.Memory, t.Override.Memory)
	s.ShmSize = cmp.Or(s.ShmSize, t.Override.ShmSize)
	s.PidsLimit = cmp.Or(s.PidsLimit, t.Override.PidsLimit)
	return s
}

// Validate returns an error if t is invalid.
func (t Template) Validate() error {
	if t.Format != Format {
		return keyway.Errorf(keyway.BadConfig, "it has the format %d, and this keyway reads %d", t.Format, Format)
	}
	if _, err := keyway.ParseName(t.Name); err != nil {
		return keyway.Errorf(keyway.BadConfig, "its name: %w", err).HelpOf(err)
	}
	s := t.Spec
	switch {
	case s.Name != "" || len(s.AuthorizedKeys) > 0 || s.ForwardAgent || len(s.Secrets) > 0 || s.GPUs.Wait || s.Published:
		return keyway.Errorf(keyway.BadConfig, "it holds a name, keys, secrets, a forwarded agent or a wait for GPUs, which are a user's")
	case s.Template != t.Name:
		return keyway.Errorf(keyway.BadConfig, "its spec is of the template %.80q, and it is %.80q", s.Template, t.Name)
	case s.Image == "" && (s.Engine == "" || keyway.UsesImages(s.Engine)):
		return keyway.Errorf(keyway.BadConfig, "it names no image")
	case len(t.Setup) > maxSetup:
		return keyway.Errorf(keyway.BadConfig, "its setup is longer than %d KiB", maxSetup>>10)
	}
	if err := t.Override.validate(); err != nil {
		return err
	}
	s = t.limited()
	s.Name, s.AuthorizedKeys = "template", []string{"key"} // what every Spec has
	if err := s.Validate(); err != nil {
		return keyway.Errorf(keyway.BadConfig, "its spec: %w", err).HelpOf(err)
	}
	return bounded("extensions", t.Extensions)
}

func (o Override) validate() error {
	if o.GPUs < 0 || !(o.CPUs >= 0) || o.Memory < 0 || o.ShmSize < 0 || o.PidsLimit < 0 || o.Tmpfs < 0 {
		return keyway.Errorf(keyway.BadConfig, "a limit of its override is negative")
	}
	for what, list := range map[string][]string{"env": o.Env, "volumes": o.Volumes, "free": o.Free} {
		if err := bounded(what, list); err != nil {
			return err
		}
	}
	for _, v := range o.Volumes {
		source := strings.TrimSuffix(v, ":ro")
		if path.IsAbs(source) && path.Clean(source) == source || keyway.IsVolumeName(strings.TrimSuffix(v, "*")) || v == "*" {
			continue
		}
		return keyway.Errorf(keyway.BadConfig, "its override volumes has %.80q, which is neither a directory nor the name of a volume", v).
			Hint("for example: /data, /data:ro, cache or cache-*")
	}
	for _, f := range o.Free {
		if !slices.Contains(FreeFields, f) {
			return keyway.Errorf(keyway.BadConfig, "its override leaves %.80q free, and it can leave %s free", f, strings.Join(FreeFields, ", "))
		}
	}
	return nil
}

func bounded(what string, list []string) error {
	if len(list) > maxList || slices.ContainsFunc(list, func(s string) bool { return s == "" || len(s) > maxItem }) {
		return keyway.Errorf(keyway.BadConfig, "its %s are over %d, or one is empty or too long", what, maxList)
	}
	return nil
}

// Catalogue is all templates of a place, by name.
type Catalogue []Template

// Only reports whether workspaces are made from the place's templates alone.
func (c Catalogue) Only() bool {
	return slices.ContainsFunc(c, func(t Template) bool { return t.Only })
}

// Check reports what keeps a workspace of that Spec from being made at the place.
func (c Catalogue) Check(s keyway.Spec) error {
	if !s.Published && !c.Only() {
		return nil
	}
	for _, t := range c {
		if t.Name == s.Template {
			return t.Check(s)
		}
	}
	var names []string
	for _, t := range c {
		names = append(names, t.Name)
	}
	if s.Published {
		return keyway.Errorf(keyway.NotAllowed, "the place has no template %.80q; it has %s", s.Template, listed(names)).Advise(keyway.SeePlaceTemplates)
	}
	return keyway.Errorf(keyway.NotAllowed, "the place makes workspaces from its own templates only: %s", listed(names)).Advise(keyway.SeePlaceTemplates)
}

// Naming returns the template that names its image by that name, without a digest, so that a
// user who may give the name to an image chooses the image; empty if there is none. same
// reports whether the engine treats two names as one.
func (c Catalogue) Naming(image string, same func(a, b string) bool) string {
	for _, t := range c {
		if !strings.Contains(t.Spec.Image, "@") && same(t.Spec.Image, image) {
			return t.Name
		}
	}
	return ""
}

// CheckImport returns the reason why an image of another origin must not get that name at the
// place.
func (c Catalogue) CheckImport(image string, same func(a, b string) bool) error {
	switch name := c.Naming(image, same); {
	case name != "":
		return keyway.Errorf(keyway.NotAllowed, "the place's template %s is made of what is called %.200s, and only the place's operators give an image that name", name, image).Advise(keyway.SeePlaceTemplates)
	case c.Only():
		return keyway.Errorf(keyway.NotAllowed, "the place makes workspaces from its own templates only, and takes no images of users").Advise(keyway.SeePlaceTemplates)
	}
	return nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names[:min(len(names), 10)], ", ")
}
