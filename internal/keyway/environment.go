package keyway

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Environment is the effective environment of a workspace, as its place reports it: everything
// that decides whether a program has the same results as elsewhere. A field with an unknown
// value is empty.
type Environment struct {
	Name  Name   `json:"name,omitempty"`
	Error *Error `json:"error,omitempty"` // why nothing is known of it

	Engine string        `json:"engine,omitempty"`
	Arch   string        `json:"arch,omitempty"` // as Go calls it: amd64
	Image  ImageIdentity `json:"image,omitzero"`
	Software
	// Files are those of the image that are not as the image has them.
	Files []FileChange `json:"files,omitempty"`
	// MoreFiles is the number of further changed files.
	MoreFiles int `json:"moreFiles,omitempty"`
	// Accounts are the users and groups in the container's files, sorted: "user NAME=UID:GID:HOME:SHELL" and
	// "group NAME=GID:MEMBERS". It is nil if they are not known, and otherwise at least empty.
	Accounts []string `json:"accounts,omitzero"`

	Variables []Variable `json:"variables,omitempty"` // that were asked for, by their names
	Mounts    []string   `json:"mounts,omitempty"`    // see Mount.String
	Shm       int64      `json:"shm,omitempty"`       // bytes of /dev/shm; 0: the engine's own
	// User is the user of the programs: UserCaller, or a user of the image, or uid[:gid];
	// empty: the image's own.
	User string `json:"user,omitempty"`
	// Options are the other requested options, by the names of OptionNames. An older keyway
	// does not report them, so the map is nil; otherwise it is at least empty.
	Options map[string]string `json:"options,omitzero"`
	// AskedUlimits are the requested ulimits, if the place could give only lower ones.
	AskedUlimits string `json:"askedUlimits,omitempty"`

	Kernel string   `json:"kernel,omitempty"` // its release
	Driver string   `json:"driver,omitempty"` // version of NVIDIA's driver in the kernel
	GPUs   []string `json:"gpus,omitempty"`   // the model of each that the workspace has
	Guest  string   `json:"guest,omitempty"`  // version of the guest
}

// Environment returns the part of a workspace's environment that its Spec determines. Fields that
// the Spec leaves to the place are empty.
func (s Spec) Environment() Environment {
	env := Environment{Variables: hashVariables(s.Process), Shm: s.ShmSize, User: s.User, Options: s.options()}
	if s.Caller {
		env.User = UserCaller
	}
	for _, m := range s.Mounts {
		env.Mounts = append(env.Mounts, m.String())
	}
	if s.HomeVolume != "" {
		env.Mounts = append(env.Mounts, Mount{Kind: MountVolume, Source: s.HomeVolume, Target: "~"}.String())
	}
	slices.Sort(env.Mounts)
	return env
}

// UserCaller stands for the uid and gid that a workspace's owner has at the place, which
// are others at each.
const UserCaller = "caller"

// ImageIdentity has the values that identify an image. Two are the same image if they have a digest
// or the ID in common.
type ImageIdentity struct {
	Reference string   `json:"reference,omitempty"` // that the workspace was made from
	Digests   []string `json:"digests,omitempty"`   // sha256:…, by which registries know it
	ID        string   `json:"id,omitempty"`        // sha256:…, by which the engine knows it
}

// Same reports whether both are of one image.
func (i ImageIdentity) Same(other ImageIdentity) bool {
	if i.ID != "" && i.ID == other.ID {
		return true
	}
	return slices.ContainsFunc(i.Digests, func(d string) bool { return slices.Contains(other.Digests, d) })
}

// Distinct returns the texts that are not empty, each once, in their order.
func Distinct(texts ...string) []string {
	var all []string
	for _, text := range texts {
		if text != "" && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// Software lists installed software.
type Software struct {
	Torch string `json:"torch,omitempty"`
	CUDA  string `json:"cuda,omitempty"`
	CuDNN string `json:"cudnn,omitempty"`
	NCCL  string `json:"nccl,omitempty"`
	// Python are the distributions as "pip freeze" has them, NAME==VERSION, sorted.
	Python []string `json:"python,omitempty"`
	// System are the packages of dpkg, apk and conda, NAME=VERSION, sorted.
	System []string `json:"system,omitempty"`
}

// PackageHash returns one hash for a list of packages, or empty if there are none.
func PackageHash(packages []string) string {
	if len(packages) == 0 {
		return ""
	}
	h := sha256.New()
	for _, p := range packages {
		fmt.Fprintln(h, p)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// FileChange is a file of an image that a workspace has changed.
type FileChange struct {
	Path   string `json:"path"`
	Change string `json:"change"` // of the Change constants
	Hash   string `json:"hash,omitempty"`
}

// Ways in which a file of an image differs from the image's.
const (
	ChangeModified = "modified"
	ChangeDeleted  = "deleted"
	ChangeAdded    = "added"
)

// Variable is an environment variable whose value stays secret.
type Variable struct {
	Name string `json:"name"`
	Hash string `json:"hash"` // of name and value
}

// maxHashText is the number of hexadecimal digits of a hash that are kept, enough to tell two
// values apart.
const maxHashText = 32

// HashUnset stands for the hash of a variable of the image that is taken away.
const HashUnset = "unset"

// hashVariables returns the hashes of the variables in p, sorted by name.
func hashVariables(p Process) []Variable {
	var all []Variable
	for name, value := range p.Env {
		sum := sha256.Sum256([]byte(name + "=" + value))
		all = append(all, Variable{Name: name, Hash: "sha256:" + hex.EncodeToString(sum[:])[:maxHashText]})
	}
	for _, name := range p.Unset {
		all = append(all, Variable{Name: name, Hash: HashUnset})
	}
	slices.SortFunc(all, func(a, b Variable) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Bounds on a place's report about a workspace.
const (
	MaxPackages    = 20_000
	MaxPackageText = 256 // bytes of a package's name and version
	MaxFileChanges = 512
	MaxAccounts    = 4096
	maxDigests     = 64
	maxModels      = 1024
	// MaxEnvironments bounds the workspaces in one request.
	MaxEnvironments = 1024
)

// Bound cuts each list of e to its bound.
func (e *Environment) Bound() {
	e.Python = e.Python[:min(len(e.Python), MaxPackages)]
	e.System = e.System[:min(len(e.System), MaxPackages)]
	e.Files = e.Files[:min(len(e.Files), MaxFileChanges)]
	e.Variables = e.Variables[:min(len(e.Variables), maxEnv)]
	e.Accounts = e.Accounts[:min(len(e.Accounts), MaxAccounts)]
	e.Mounts = e.Mounts[:min(len(e.Mounts), maxMounts)]
	e.GPUs = e.GPUs[:min(len(e.GPUs), maxModels)]
	e.Image.Digests = e.Image.Digests[:min(len(e.Image.Digests), maxDigests)]
}
