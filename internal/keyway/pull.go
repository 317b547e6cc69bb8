package keyway

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Login opens one registry for one pull. It travels from the laptop to the place in the
// request for that pull, and is written down at neither. It is a Token where the registry
// gives any: one to pull this image alone, for some minutes.
type Login struct {
	Registry      string `json:"registry,omitempty"` // its name as images have it: ghcr.io, docker.io
	Token         string `json:"token,omitempty"`
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	IdentityToken string `json:"identity_token,omitempty"`
}

// hidden replaces a Login in any text.
const hidden = "[login]"

// String omits the secret, so that no text contains it.
func (l Login) String() string { return hidden }

// Format does so for every verb.
func (l Login) Format(f fmt.State, verb rune) { fmt.Fprint(f, hidden) }

// None reports whether there is nothing to log in with.
func (l Login) None() bool { return l == Login{} || l == Login{Registry: l.Registry} }

// Opens reports whether l is a login to that registry.
func (l Login) Opens(registry string) bool { return !l.None() && l.Registry == registry }

func (l Login) bounded() bool {
	return len(l.Registry)+len(l.Token)+len(l.Username)+len(l.Password)+len(l.IdentityToken) <= maxLogin
}

// Header returns the Authorization header of a request for a layer; empty: none.
func (l Login) Header() string {
	switch {
	case l.Token != "":
		return "Bearer " + l.Token
	case l.Username != "" && l.Password != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(l.Username+":"+l.Password))
	}
	return ""
}

// Layer is a layer as a registry has it.
type Layer struct {
	Digest string `json:"digest"`  // sha256:… of its bytes in the registry
	DiffID string `json:"diff_id"` // sha256:… of its content, by which engines know it
	Size   int64  `json:"size"`    // bytes in the registry
}

// Pull is an image that a place is to get from a registry.
type Pull struct {
	Image string `json:"image"`
	Login Login  `json:"login,omitzero"`
	// The laptop's findings at the registry: where the image's repository is, its
	// configuration and its layers, the lowest first. Without them the engine finds out.
	Repository string  `json:"repository,omitempty"` // https://HOST/v2/NAME
	Config     []byte  `json:"config,omitempty"`
	Layers     []Layer `json:"layers,omitempty"`
}

// Bounds on a Pull, in bytes.
const (
	MaxConfig    = 1 << 20
	maxLogin     = 64 << 10
	MaxLayerSize = 1 << 40
)

// IsDigest reports whether s is sha256: and 64 digits in lower case.
func IsDigest(s string) bool {
	digits, ok := strings.CutPrefix(s, "sha256:")
	_, err := hex.DecodeString(digits)
	return ok && err == nil && len(digits) == 64 && strings.ToLower(digits) == digits
}

// Found reports whether it has the registry's answer.
func (p Pull) Found() bool { return len(p.Layers) > 0 }

// Size returns the size in bytes, in the registry, of the layers from the given one on.
func (p Pull) Size(from int) (n int64) {
	for _, l := range p.Layers[min(from, len(p.Layers)):] {
		n += l.Size
	}
	return n
}

// DiffIDs returns the names by which engines know the layers.
func (p Pull) DiffIDs() []string {
	ids := make([]string, len(p.Layers))
	for i, l := range p.Layers {
		ids[i] = l.DiffID
	}
	return ids
}

// Validate returns an error for an invalid Pull. The connecting code checks whether secrets may
// be sent to its address.
func (p Pull) Validate() error {
	refuse := func(what string) error { return Errorf(Usage, "the pull of %.100q has %s", p.Image, what) }
	switch {
	case p.Image == "" || len(p.Image) > MaxReference:
		return refuse("no image that could be one")
	case !p.Login.bounded():
		return refuse("a login that is too long")
	case !p.Found():
		return nil
	case len(p.Config) == 0 || len(p.Config) > MaxConfig || len(p.Layers) > MaxLayers:
		return refuse("no configuration, or too much of it")
	}
	for _, l := range p.Layers {
		if !IsDigest(l.Digest) || !IsDigest(l.DiffID) || l.Size <= 0 || l.Size > MaxLayerSize {
			return refuse("an invalid layer")
		}
	}
	return nil
}

// IsLoopback reports whether a host, without a port, is the machine itself.
func IsLoopback(host string) bool {
	host = strings.Trim(host, "[]")
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.") && strings.Trim(host, "0123456789.") == ""
}
