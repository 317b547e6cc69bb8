// Package imagetars makes archives of docker save for tests, sound ones and hostile ones.
package imagetars

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"keyway/internal/imagetar"
)

// Entry is an entry of an archive; Text is the content of a file.
type Entry struct {
	Name, Text, Link string
	Kind             byte // of package tar; 0: a file
}

// Of returns an archive of files, each a name and its content, in that order.
func Of(t testing.TB, files ...string) []byte {
	t.Helper()
	var entries []Entry
	for pair := range slices.Chunk(files, 2) {
		entries = append(entries, Entry{Name: pair[0], Text: pair[1]})
	}
	return Pack(t, entries...)
}

// Pack returns an archive of entries, in that order.
func Pack(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		if e.Kind == 0 {
			e.Kind = tar.TypeReg
		}
		h := &tar.Header{Typeflag: e.Kind, Name: e.Name, Linkname: e.Link, Mode: 0o644, Size: int64(len(e.Text))}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.Text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Names returns the names in an archive, in their order.
func Names(t testing.TB, archive []byte) (names []string) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

const manifest = `[{"Config":"c.json","RepoTags":["team/x:1"],"Layers":["a/layer.tar","b/layer.tar"]}]`

var named = Entry{Name: "manifest.json", Text: manifest}

// sound returns the entries of an image, except its manifest.
func sound(config string) []Entry {
	return []Entry{{Name: "a/layer.tar", Text: strings.Repeat("x", 9000)}, {Name: "b/layer.tar", Text: "y"}, {Name: "c.json", Text: config}}
}

// Sound returns an archive of an image with this configuration and two layers.
func Sound(t testing.TB, config string) []byte {
	t.Helper()
	return Pack(t, append(sound(config), named)...)
}

// Hostile returns archives that must be refused, by the fault of each; apart from that fault they
// are valid.
func Hostile(t testing.TB, config string) map[string][]byte {
	t.Helper()
	image, whole := sound(config), Sound(t, config)
	with := func(more ...Entry) []byte { return Pack(t, slices.Concat(image, []Entry{named}, more)...) }
	without := func(e ...Entry) []byte { return Pack(t, slices.Concat(image, e)...) }
	all := map[string][]byte{
		"nothing": nil, "junk": []byte(strings.Repeat("junk", 1000)), "no entry": Pack(t),
		"cut in a header": whole[:300], "cut in a layer": whole[:5000], "cut in the manifest": whole[:bytes.Index(whole, []byte(manifest))+9],
		"no manifest": without(), "two manifests": with(named), "two manifests, one by another name": with(Entry{Name: "x/.././manifest.json", Text: manifest}),
		"an empty manifest": without(Entry{Name: "manifest.json"}), "a manifest of none": without(Entry{Name: "manifest.json", Text: "[]"}),
		"a manifest of two":          without(Entry{Name: "manifest.json", Text: strings.Replace(manifest, "]}]", "]},{}]", 1)}),
		"a manifest that is a link":  without(Entry{Name: "manifest.json", Kind: tar.TypeSymlink, Link: "c.json"}),
		"a manifest that is a place": without(Entry{Name: "manifest.json", Kind: tar.TypeDir}),
		"a huge manifest":            without(Entry{Name: "manifest.json", Text: strings.Repeat(" ", imagetar.MaxText) + manifest}),
		"many layers":                without(Entry{Name: "manifest.json", Text: strings.Replace(manifest, `["a/`, `["a/`+strings.Repeat(`x","`, 2000), 1)}),
		"many entries":               with(slices.Repeat([]Entry{{Name: "x"}}, imagetar.MaxEntries)...),
	}
	for i, e := range []Entry{
		{Name: ".."}, {Name: "../x"}, {Name: "x/../../y"}, {Name: "/x"}, {Name: "//etc/shadow"}, {Name: "./../x", Kind: tar.TypeDir},
		{Name: "x", Kind: tar.TypeSymlink, Link: "/etc"}, {Name: "x", Kind: tar.TypeSymlink, Link: "../etc"}, {Name: "x/y", Kind: tar.TypeSymlink, Link: "a/../../../etc"},
		{Name: "x", Kind: tar.TypeLink, Link: "/etc/shadow"}, {Name: "x", Kind: tar.TypeLink, Link: "c.json"},
		{Name: "x", Kind: tar.TypeChar}, {Name: "x", Kind: tar.TypeBlock}, {Name: "x", Kind: tar.TypeFifo},
	} {
		all[fmt.Sprintf("the entry %q of kind %c, to %q", e.Name, e.Kind, e.Link)] = with(e)
		// Before what makes the image, too.
		all[fmt.Sprintf("the entry %d, first", i)] = Pack(t, slices.Concat([]Entry{e}, image, []Entry{named})...)
	}
	return all
}
