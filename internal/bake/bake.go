// Package bake puts the guest into images, for places where keyway has no engine. A baked image is
// its base and one layer more; its entry point is the guest, which then serves SSH on a port
// (internal/guest, sshdMain). The base decides neither the keys that may enter nor the guest
// program: the layer hides the base's files in the guest's directory, and keyway's own variables
// are removed. The same base and the same guest yield the same bytes on every machine.
//
// The package reads and writes no file and asks no registry; packages images and registry do. Begin
// with Base and NewGuest.
package bake

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"keyway/internal/keyway"
)

// Labels of a baked image.
const (
	LabelBase       = "org.opencontainers.image.base.name"
	LabelBaseDigest = "org.opencontainers.image.base.digest"
	LabelBaseID     = "dev.keyway.baked.base"    // sha256:… of the base's configuration
	LabelGuest      = "dev.keyway.baked.guest"   // sha256:… of the guest program
	LabelVersion    = "dev.keyway.baked.version" // of keyway
)

// Port is the default port of the guest of a baked image.
const Port = "22/tcp"

// Guest is a guest program as a layer.
type Guest struct {
	Arch    string // as Go calls it
	Program string // sha256:… of the program
	DiffID  string // sha256:… of the layer's content, by which engines know it
	Digest  string // sha256:… of Packed, by which registries know it
	Packed  []byte // the gzip'd layer
}

// Base is the record of the image that a guest was put into.
type Base struct {
	Reference string // the name that the user gave
	Digest    string // by which a registry knows it; empty: none does
}

// NewGuest makes a layer of the guest program for an architecture.
func NewGuest(arch string, program []byte) (Guest, error) {
	files, err := layer(program)
	if err != nil {
		return Guest{}, err
	}
	var packed bytes.Buffer
	// Without a name and a time. By default it would be a tenth less, in three times the time.
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return Guest{}, err
	}
	if _, err := z.Write(files); err != nil {
		return Guest{}, err
	}
	if err := z.Close(); err != nil {
		return Guest{}, err
	}
	return Guest{Arch: arch, Program: digest(program), DiffID: digest(files), Digest: digest(packed.Bytes()), Packed: packed.Bytes()}, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// opaque has an engine hide what lower layers have in a directory (the image
// specification's "Opaque Whiteout").
const opaque = ".wh..wh..opq"

// layer returns the guest's Home as it is in a baked image: open to every user, and sticky, as an
// engine makes it.
func layer(program []byte) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(h tar.Header, data []byte) error {
		h.Name, h.Size, h.ModTime, h.Format = strings.TrimPrefix(h.Name, "/"), int64(len(data)), time.Unix(0, 0), tar.FormatUSTAR
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		_, err := w.Write(data)
		return err
	}
	home := keyway.GuestHome
	entries := []tar.Header{
		{Typeflag: tar.TypeDir, Name: string(home) + "/", Mode: 0o1777},
		{Typeflag: tar.TypeReg, Name: path.Join(string(home), opaque), Mode: 0o644},
		{Typeflag: tar.TypeDir, Name: home.Bin() + "/", Mode: 0o755},
	}
	for _, name := range keyway.GuestLinks() {
		entries = append(entries, tar.Header{Typeflag: tar.TypeSymlink, Name: path.Join(home.Bin(), name), Linkname: keyway.GuestProgram, Mode: 0o777})
	}
	for _, h := range entries {
		if err := add(h, nil); err != nil {
			return nil, err
		}
	}
	if err := add(tar.Header{Typeflag: tar.TypeReg, Name: home.Program(), Mode: 0o755}, program); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}

// Config returns the configuration of the baked image, derived from its base's.
func (g Guest) Config(base Base, config []byte) ([]byte, error) {
	var c v1.ConfigFile
	if len(config) > keyway.MaxConfig {
		return nil, fmt.Errorf("the configuration of %s is over %d bytes", base.Reference, keyway.MaxConfig)
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("the configuration of %s: %w", base.Reference, err)
	}
	if c.OS != "linux" || c.Architecture != g.Arch {
		return nil, keyway.Errorf(keyway.Usage, "%s is for %s/%s, and the guest is for linux/%s", base.Reference, c.OS, c.Architecture, g.Arch).
			Hint("take an image for linux/%s", g.Arch)
	}
	for target := range c.Config.Volumes {
		if keyway.GuestHome.Has(target) {
			return nil, keyway.Errorf(keyway.Usage, "the image %s declares a volume at %.200q, which is keyway's own place", base.Reference, target).
				Hint("take another image, or make one without that VOLUME")
		}
	}
	id, err := v1.NewHash(g.DiffID)
	if err != nil {
		return nil, err
	}
	c.RootFS.DiffIDs = append(slices.Clone(c.RootFS.DiffIDs), id)
	c.History = append(c.History, v1.History{Created: c.Created, CreatedBy: "the guest of keyway", Comment: keyway.Version})
	g.configure(&c.Config)
	for name, value := range map[string]string{
		LabelBase: base.Reference, LabelBaseDigest: base.Digest, LabelBaseID: digest(config), LabelGuest: g.Program, LabelVersion: keyway.Version,
	} {
		if value == "" { // that of the base's base would be untrue
			delete(c.Config.Labels, name)
			continue
		}
		c.Config.Labels[name] = value
	}
	return json.Marshal(c)
}

// configure makes the guest the program that a container starts with. The base's entry point and
// health check are not started, as in every workspace.
func (g Guest) configure(c *v1.Config) {
	c.Entrypoint, c.Cmd, c.Healthcheck = []string{keyway.GuestHome.Program(), "sshd"}, nil, nil
	c.ArgsEscaped = false
	c.Env = slices.DeleteFunc(slices.Clone(c.Env), func(e string) bool { return strings.HasPrefix(e, "KEYWAY_") })
	if c.ExposedPorts == nil {
		c.ExposedPorts = map[string]struct{}{}
	}
	c.ExposedPorts[Port] = struct{}{}
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
}
