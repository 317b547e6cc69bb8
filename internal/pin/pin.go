// Package pin reads, writes and compares keyway.lock: the environment that a template resolved to.
// It does no other input or output, and gathers no environment itself. The file may come from any
// author: it is bounded, and is refused if a value in it does not have the required form. Begin
// with Lock and Pin.
package pin

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"keyway/internal/compat"
	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
	"keyway/internal/plain"
)

// FileName is the name of the lock file, which is beside the template's file.
const FileName = "keyway.lock"

// Version is that of the file's form.
const Version = 1

// Bounds on the file, which comes with a repository.
const (
	maxFile = 16 << 20
	maxPins = 256
	maxText = 4 << 10 // bytes of each text in it
)

// Lock is the file.
type Lock struct {
	Version int   `json:"version"`
	Pins    []Pin `json:"pins"` // by template and architecture
	// Sum is that of the pins. One that does not fit says that the file was changed by
	// other means than keyway pin.
	Sum string `json:"sum"`
}

// Pin is the environment that one template resolved to on one architecture.
type Pin struct {
	Template string `json:"template"`
	// Seen means that a running workspace was examined. Otherwise only the registry was asked,
	// which knows neither the installed software nor the place.
	Seen bool `json:"seen"`
	// DriverFloor is the oldest driver that runs the CUDA of the image.
	DriverFloor string `json:"driverFloor,omitempty"`
	// PipHash and SystemHash are those of the lists of packages.
	PipHash    string `json:"pipHash,omitempty"`
	SystemHash string `json:"systemHash,omitempty"`
	keyway.Environment
}

// FromWorkspace returns the pin of a template whose running workspace has the environment env.
func FromWorkspace(template, image string, env keyway.Environment) Pin {
	env = clean(env)
	env.Image.Reference = image
	return complete(Pin{Template: template, Seen: true, Environment: env})
}

// FromImage returns the pin of a template without a running workspace, from its Spec and the
// registry's answer about its image.
func FromImage(template, arch string, s keyway.Spec, image keyway.ImageFacts) Pin {
	env := s.Environment()
	env.Arch, env.Image = arch, image.Identity()
	env = clean(env)
	env.Image.Reference = s.Image
	env.Software = told(image.Env)
	return complete(Pin{Template: template, Environment: env})
}

// clean returns env in a form that can be written and printed, whatever its source.
func clean(env keyway.Environment) keyway.Environment {
	env.Name, env.Error = "", nil
	env.Bound()
	for _, text := range []*string{&env.Engine, &env.Arch, &env.Torch, &env.CUDA, &env.CuDNN, &env.NCCL, &env.User, &env.AskedUlimits, &env.Kernel, &env.Driver, &env.Guest} {
		*text = line(*text)
	}
	env.Python, env.System, env.Mounts, env.GPUs = lines(env.Python), lines(env.System), lines(env.Mounts), lines(env.GPUs)
	env.Files, env.Variables = slices.Clone(env.Files), slices.Clone(env.Variables)
	for i, f := range env.Files {
		env.Files[i] = keyway.FileChange{Path: line(f.Path), Change: line(f.Change), Hash: line(f.Hash)}
	}
	for i, v := range env.Variables {
		env.Variables[i] = keyway.Variable{Name: line(v.Name), Hash: line(v.Hash)}
	}
	if env.Accounts != nil {
		env.Accounts = append([]string{}, lines(env.Accounts)...)
	}
	env.Options = options(env.Options)
	env.Image.Digests = slices.DeleteFunc(keyway.Distinct(env.Image.Digests...), func(d string) bool { return !sha.MatchString(d) })
	if !sha.MatchString(env.Image.ID) {
		env.Image.ID = ""
	}
	return env
}

// options returns the options with a name, in the form of the lock; nil stays nil.
func options(of map[string]string) map[string]string {
	if of == nil {
		return nil
	}
	known := map[string]string{}
	for _, name := range keyway.OptionNames {
		if value := line(of[name]); value != "" {
			known[name] = value
		}
	}
	return known
}

func line(s string) string {
	s = plain.Line(s)
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

func lines(list []string) []string {
	var all []string
	for _, s := range list {
		all = append(all, line(s))
	}
	return all
}

func complete(p Pin) Pin {
	p.DriverFloor = compat.Floor(p.CUDA)
	p.PipHash, p.SystemHash = keyway.PackageHash(p.Python), keyway.PackageHash(p.System)
	return p
}

// told returns the versions that images of PyTorch and NVIDIA state in their variables.
func told(variables []string) keyway.Software {
	env := map[string]string{}
	for _, kv := range variables {
		name, value, _ := strings.Cut(kv, "=")
		if len(value) <= maxWord && word.MatchString(value) {
			env[name] = value
		}
	}
	return keyway.Software{
		Torch: env["PYTORCH_VERSION"], CUDA: env["CUDA_VERSION"], CuDNN: cmp.Or(env["NV_CUDNN_VERSION"], env["CUDNN_VERSION"]),
		NCCL: cmp.Or(env["NV_LIBNCCL_PACKAGE_VERSION"], env["NCCL_VERSION"]),
	}
}

const maxWord = 128

var word = lazyregexp.New(`^[0-9A-Za-z][0-9A-Za-z.+:~_-]*$`)

// Find returns the template's pin for an architecture. If there are pins for others only, the
// error names them.
func (l Lock) Find(template, arch string) (p Pin, others []string, ok bool) {
	for _, p := range l.Pins {
		switch {
		case p.Template != template:
		case p.Arch == arch:
			return p, nil, true
		default:
			others = append(others, p.Arch)
		}
	}
	return Pin{}, others, false
}

// Of returns all pins of a template.
func (l Lock) Of(template string) []Pin {
	return slices.DeleteFunc(slices.Clone(l.Pins), func(p Pin) bool { return p.Template != template })
}

// With returns l with p in place of the pin of the same template and architecture.
func (l Lock) With(p Pin) Lock {
	pins := slices.DeleteFunc(slices.Clone(l.Pins), func(o Pin) bool { return o.Template == p.Template && o.Arch == p.Arch })
	pins = append(pins, p)
	slices.SortFunc(pins, func(a, b Pin) int { return cmp.Or(cmp.Compare(a.Template, b.Template), cmp.Compare(a.Arch, b.Arch)) })
	return Lock{Version: Version, Pins: pins, Sum: sum(pins)}
}

func sum(pins []Pin) string {
	text, err := json.Marshal(pins)
	if err != nil {
		return ""
	}
	h := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(h[:])
}

// Meddled reports whether the file was changed by other means than keyway pin.
func (l Lock) Meddled() bool { return l.Sum != sum(l.Pins) }

// Read reads the file. Where there is none, the error is fs.ErrNotExist.
func Read(path string) (Lock, error) {
	data, err := keyway.ReadPlainFile(path, maxFile+1)
	if errors.Is(err, fs.ErrNotExist) {
		return Lock{}, err
	}
	if err != nil {
		return Lock{}, unusable(path, "%v", err)
	}
	l, err := Parse(data)
	if err != nil {
		return Lock{}, unusable(path, "%v", err)
	}
	return l, nil
}

func unusable(path, format string, args ...any) error {
	return keyway.Errorf(keyway.BadConfig, "%s cannot be used: "+format, append([]any{path}, args...)...).
		Advise(keyway.PinAnew)
}

// Parse reads the file's text.
func Parse(data []byte) (Lock, error) {
	if len(data) > maxFile {
		return Lock{}, keyway.Errorf(keyway.BadConfig, "it has over %d MiB", maxFile>>20)
	}
	var of struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &of); err != nil {
		return Lock{}, err
	}
	if of.Version != Version {
		return Lock{}, keyway.Errorf(keyway.BadConfig, "it is of version %d, and this keyway reads version %d", of.Version, Version)
	}
	var l Lock
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return Lock{}, err
	}
	if len(l.Pins) > maxPins {
		return Lock{}, keyway.Errorf(keyway.BadConfig, "it has over %d pins", maxPins)
	}
	for i := range l.Pins {
		if err := l.Pins[i].check(); err != nil {
			return Lock{}, err
		}
	}
	return l, nil
}

// sha is the only form of a hash.
var sha = lazyregexp.New(`^sha256:[0-9a-f]{64}$`)

// check refuses what keyway pin has not written.
func (p Pin) check() error {
	if p.Template == "" || p.Arch == "" || p.Error != nil || p.Name != "" {
		return keyway.Errorf(keyway.BadConfig, "a pin in it has no template or no architecture, or what pins do not have")
	}
	for _, digest := range append(slices.Clone(p.Image.Digests), p.Image.ID) {
		if digest != "" && !sha.MatchString(digest) {
			return keyway.Errorf(keyway.BadConfig, "%.80q in it is not a digest", digest)
		}
	}
	whole := p.Environment
	whole.Bound()
	if len(whole.Python)+len(whole.System)+len(whole.Files)+len(whole.Accounts)+len(whole.Variables)+len(whole.Mounts)+len(whole.GPUs)+len(whole.Image.Digests) !=
		len(p.Python)+len(p.System)+len(p.Files)+len(p.Accounts)+len(p.Variables)+len(p.Mounts)+len(p.GPUs)+len(p.Image.Digests) {
		return keyway.Errorf(keyway.BadConfig, "a list in it is too long")
	}
	return p.checkTexts()
}

func (p Pin) checkTexts() error {
	texts := []string{p.Template, p.Arch, p.DriverFloor, p.PipHash, p.SystemHash, p.Engine, p.Image.Reference, p.Torch, p.CUDA, p.CuDNN, p.NCCL, p.User, p.Kernel, p.Driver, p.Guest}
	texts = slices.Concat(texts, p.Python, p.System, p.Accounts, p.Mounts, p.GPUs)
	for _, f := range p.Files {
		texts = append(texts, f.Path, f.Change, f.Hash)
	}
	for _, v := range p.Variables {
		texts = append(texts, v.Name, v.Hash)
	}
	for name, value := range p.Options {
		if !slices.Contains(keyway.OptionNames, name) || value == "" {
			return keyway.Errorf(keyway.BadConfig, "%.80q in it is not an option", name)
		}
		texts = append(texts, value)
	}
	for _, t := range texts {
		if len(t) > maxText || plain.Line(t) != t {
			return keyway.Errorf(keyway.BadConfig, "%.80q in it is not a printable text", t)
		}
	}
	return nil
}

// Write writes the file.
func (l Lock) Write(path string) error {
	for _, p := range l.Pins {
		if err := p.check(); err != nil {
			return unusable(path, "%v", err)
		}
	}
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	if err := keyway.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return keyway.Errorf(keyway.BadConfig, "%s cannot be written: %w", path, err).Hint("see whose the directory is: ls -ld %s", plain.Shell(filepath.Dir(path)))
	}
	return nil
}
