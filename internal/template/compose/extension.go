package compose

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"keyway/internal/catalogue"
	"keyway/internal/keyway"
	"keyway/internal/template/document"
)

// Extension is a service's x-keyway.
type Extension struct {
	// ForwardAgent forwards the user's agent into the workspace on every connection.
	ForwardAgent bool `yaml:"forward_agent"`
	// Setup is a shell script that runs once, after the workspace was made.
	Setup string `yaml:"setup"`
	// Extensions lists the editors' extensions that are offered for the workspace.
	Extensions []string `yaml:"extensions"`
	// As is "caller", to run with the uid and gid of the user that made the workspace, or
	// "image", to run as the image's user. Empty means caller, unless the service has a user.
	As string `yaml:"as"`
	// Home is the name of a volume for the home directory. It outlives the workspace.
	Home string `yaml:"home"`
	// Override lists what users may change in the template once it is published.
	Override catalogue.Override `yaml:"-"`
}

const (
	asCaller = "caller"
	asImage  = "image"
)

// extension reads x-keyway of the services in names, of which each extends the next. A field of
// an earlier service takes precedence, as with Compose's own fields.
func (d source) extension(names []string) (x Extension, err error) {
	for _, name := range slices.Backward(names) {
		service, _ := d.service(name)
		if err = d.extend(&x, document.Field(service, "x-keyway")); err != nil {
			return x, err
		}
	}
	return x, nil
}

// extend reads one x-keyway into x.
func (d source) extend(x *Extension, n *yaml.Node) error {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return d.Errorf(n, "x-keyway has fields: forward_agent, setup, extensions, as, home, override")
	}
	for _, p := range document.Pairs(n) {
		if p.Key.Value == "override" {
			if err := d.override(p.Value, &x.Override); err != nil {
				return err
			}
			continue
		}
		if err := p.Value.Decode(x.target(p.Key.Value)); err != nil {
			return d.Errorf(p.Key, "x-keyway.%s cannot have this value", p.Key.Value).
				Hint("%s", extensionForms[p.Key.Value])
		}
	}
	switch {
	case x.As != "" && x.As != asCaller && x.As != asImage:
		return d.Errorf(document.Field(n, "as"), "x-keyway.as is %.40q", x.As).Hint("%s", extensionForms["as"])
	case len(x.Setup) > document.MaxSetup:
		return d.Errorf(document.Field(n, "setup"), "x-keyway.setup is longer than %d KiB", document.MaxSetup>>10).Hint("mount a script, and call it")
	case x.Home != "" && !keyway.IsVolumeName(x.Home):
		return d.Errorf(document.Field(n, "home"), "x-keyway.home is %.40q", x.Home).Hint("%s", extensionForms["home"])
	}
	return nil
}

var extensionForms = map[string]string{
	"forward_agent": "true or false",
	"setup":         "a script: |, and its lines below",
	"extensions":    "a list of the editor's names for them: [ms-python.python]",
	"as":            "caller: files on mounts are yours, with your uid at the place; image: as the image says",
	"home":          "the name of a volume, such as my-home; it outlives the workspace",
}

// target returns a pointer to the field of that name, or nil.
func (x *Extension) target(name string) any {
	switch name {
	case "forward_agent":
		return &x.ForwardAgent
	case "setup":
		return &x.Setup
	case "extensions":
		return &x.Extensions
	case "as":
		return &x.As
	case "home":
		return &x.Home
	}
	return new(any)
}
