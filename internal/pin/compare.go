package pin

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"keyway/internal/compat"
	"keyway/internal/keyway"
)

// Difference is one difference from the pinned environment.
type Difference struct {
	// Where is the place of the difference: a workspace and its place, the template, a registry
	// or the file itself.
	Where string `json:"where"`
	Field string `json:"field"`          // of Fields
	Name  string `json:"name,omitempty"` // of the package, variable, file or mount
	Want  string `json:"want"`           // the pinned value; empty: there is none
	Found string `json:"found"`          // the present value; empty: there is none
}

// Fields are all that can differ, as --ignore takes them.
var Fields = slices.Concat([]string{"lock", "template", "tag", "arch", "image", "torch", "cuda", "cudnn", "nccl", "pip", "packages", "file", "account", "env", "mount", "shm", "user"},
	keyway.OptionNames, []string{"kernel", "driver", "gpu", "guest"})

// PlaceFields are those of Fields that a place decides about, whatever a template says.
// An engine without root lowers ulimits.
var PlaceFields = []string{"kernel", "driver", "gpu", keyway.OptionUlimits}

// ChosenFields are those of Fields that no template can say: the user chooses them when the
// workspace is made. A lock records choices, and makes none itself, because it comes with a
// repository.
var ChosenFields = []string{keyway.OptionIPC, keyway.OptionNetwork}

// ByDigest returns the reference of an image by digest alone.
func ByDigest(image, digest string) string {
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndexByte(image, ':'); colon > strings.LastIndexByte(image, '/') {
		image = image[:colon]
	}
	return image + "@" + digest
}

// MaxShown bounds the differences of one field of one workspace that are named; the others are
// counted.
const MaxShown = 32

// Compare returns the differences between a workspace's environment and the pin.
func (p Pin) Compare(where string, found keyway.Environment) []Difference {
	c := comparison{where: where}
	reference := line(found.Image.Reference)
	found = clean(found)
	found.Image.Reference = reference
	if found.Arch != p.Arch {
		c.text("arch", p.Arch, found.Arch)
		return c.all // of another architecture, everything is another
	}
	c.image(p.Image, found.Image)
	c.asked(p.Environment, found)
	if !p.Seen { // the image's digest decides, and this about the place
		if !compat.Runs(found.Driver, p.DriverFloor) {
			c.add("driver", "", p.DriverFloor+" or newer", found.Driver)
		}
		return c.all
	}
	c.text("torch", p.Torch, found.Torch)
	c.text("cuda", p.CUDA, found.CUDA)
	c.text("cudnn", p.CuDNN, found.CuDNN)
	c.text("nccl", p.NCCL, found.NCCL)
	c.list("pip", packages(p.Python, "=="), packages(found.Python, "=="))
	c.list("packages", packages(p.System, "="), packages(found.System, "="))
	c.files(p.Environment, found)
	if p.Accounts != nil && found.Accounts != nil { // otherwise one of the two comes from a keyway that did not read them
		c.list("account", packages(p.Accounts, "="), packages(found.Accounts, "="))
	}
	c.text("kernel", p.Kernel, found.Kernel)
	c.text("driver", p.Driver, found.Driver)
	c.text("gpu", models(p.GPUs), models(found.GPUs))
	c.text("guest", p.Guest, found.Guest)
	return c.all
}

// CompareTemplate returns the differences between a template's present settings and the pin.
func (p Pin) CompareTemplate(where string, s keyway.Spec) []Difference {
	if p.Options[keyway.OptionIPC] == keyway.IPCHost {
		s.ShmSize = p.Shm // the place's own, whatever the template says
	}
	if p.AskedUlimits != "" && p.Options != nil {
		p.Options = maps.Clone(p.Options)
		p.Options[keyway.OptionUlimits] = p.AskedUlimits
	}
	return slices.DeleteFunc(p.CompareSpec(where, s), func(d Difference) bool { return slices.Contains(ChosenFields, d.Field) })
}

// CompareSpec returns the differences between a requested workspace and the pin.
func (p Pin) CompareSpec(where string, s keyway.Spec) []Difference {
	c := comparison{where: where}
	c.text("template", p.Image.Reference, s.Image)
	c.asked(p.Environment, clean(s.Environment()))
	return c.all
}

// comparison gathers differences.
type comparison struct {
	where string
	all   []Difference
}

func (c *comparison) add(field, name, want, found string) {
	c.all = append(c.all, Difference{Where: c.where, Field: field, Name: name, Want: want, Found: found})
}

func (c *comparison) text(field, want, found string) {
	if want != found {
		c.add(field, "", want, found)
	}
}

func (c *comparison) image(want, found keyway.ImageIdentity) {
	known := func(i keyway.ImageIdentity) bool { return i.ID != "" || len(i.Digests) > 0 }
	if known(want) && !want.Same(found) || !known(want) && known(found) {
		c.add("image", found.Reference, short(want), short(found))
	}
}

// short returns a short name of an image for people.
func short(i keyway.ImageIdentity) string {
	id := i.ID
	if len(i.Digests) > 0 {
		id = i.Digests[0]
	}
	const digits = 12
	hash, ok := strings.CutPrefix(id, "sha256:")
	if !ok || len(hash) < digits {
		return id
	}
	return "sha256:" + hash[:digits]
}

// asked compares the settings of a Spec.
func (c *comparison) asked(want, found keyway.Environment) {
	c.list("env", variables(want.Variables), variables(found.Variables))
	c.list("mount", set(want.Mounts), set(found.Mounts))
	if want.Shm != found.Shm {
		c.add("shm", "", size(want.Shm), size(found.Shm))
	}
	c.text("user", want.User, found.User)
	if want.Options == nil { // the lock of a keyway that did not know them
		return
	}
	for _, name := range keyway.OptionNames {
		if a, b := want.Options[name], found.Options[name]; a != b {
			c.add(name, "", option(name, a), option(name, b))
		}
	}
}

// option returns the value of an option for people. Of a command, it returns the beginning of its
// hash.
func option(name, value string) string {
	if _, hash, ok := strings.Cut(value, ":"); ok && name == keyway.OptionCommand {
		return "a command (" + hash[:min(len(hash), 12)] + ")"
	}
	return value
}

func size(n int64) string {
	if n == 0 {
		return "as the place gives"
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// files compares those of the image that were changed.
func (c *comparison) files(want, found keyway.Environment) {
	changes := func(all []keyway.FileChange) map[string]string {
		m := map[string]string{}
		for _, f := range all {
			m[f.Path] = strings.TrimSpace(f.Change + " " + f.Hash)
		}
		return m
	}
	c.list("file", changes(want.Files), changes(found.Files))
	if want.MoreFiles != found.MoreFiles {
		c.add("file", "more", strconv.Itoa(want.MoreFiles), strconv.Itoa(found.MoreFiles))
	}
}

// list compares values by their names.
func (c *comparison) list(field string, want, found map[string]string) {
	names := keyway.Differing(want, found)
	for _, name := range names[:min(len(names), MaxShown)] {
		c.add(field, name, shown(field, want, name), shown(field, found, name))
	}
	if more := len(names) - MaxShown; more > 0 {
		c.add(field, fmt.Sprintf("and %d more", more), "", "")
	}
}

// shown returns a value for people. Of variables, it only tells whether they are set, and of files
// how they have changed.
func shown(field string, values map[string]string, name string) string {
	value, ok := values[name]
	switch {
	case field == "file" && !ok:
		return "as in the image"
	case field == "file":
		change, hash, _ := strings.Cut(value, " ")
		if hash, ok = strings.CutPrefix(hash, "sha256:"); ok {
			return change + " (" + hash[:min(len(hash), 12)] + ")"
		}
		return change
	case !ok:
		return ""
	case value == keyway.HashUnset:
		return "taken away"
	case field == "env":
		_, hash, _ := strings.Cut(value, ":")
		return "a value (" + hash[:min(len(hash), 12)] + ")"
	}
	return value
}

// packages returns versions by name. Of a package that is there more than once, all are.
func packages(list []string, sep string) map[string]string {
	m := map[string]string{}
	for _, p := range list {
		name, version, _ := strings.Cut(p, sep)
		if earlier, twice := m[name]; twice {
			version = earlier + " and " + version
		}
		m[name] = version
	}
	return m
}

func variables(list []keyway.Variable) map[string]string {
	m := map[string]string{}
	for _, v := range list {
		m[v.Name] = v.Hash
	}
	return m
}

func set(list []string) map[string]string {
	m := map[string]string{}
	for _, s := range list {
		m[s] = "mounted"
	}
	return m
}

// models returns GPUs as people count them: 2 × NVIDIA A100.
func models(gpus []string) string {
	count := map[string]int{}
	for _, g := range gpus {
		count[g]++
	}
	var parts []string
	for g, n := range count {
		parts = append(parts, fmt.Sprintf("%d × %s", n, g))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
