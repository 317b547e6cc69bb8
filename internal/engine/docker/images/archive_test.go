package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
)

// pack is an archive with these entries, in that order.
func pack(t testing.TB, entries ...*tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range entries {
		text := h.PAXRecords["TEST.text"]
		h.PAXRecords = nil
		if h.Size, h.Mode = int64(len(text)), 0o644; h.Typeflag != tar.TypeReg {
			h.Size = 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func plainEntry(name, text string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, PAXRecords: map[string]string{"TEST.text": text}}
}

func names(t testing.TB, archive []byte) (all []string, manifest string) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return all, manifest
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h.Name)
		if h.Name == manifestName {
			data, _ := io.ReadAll(r)
			manifest = string(data)
		}
	}
}

const twoLayers = `[{"Config":"c.json","RepoTags":["evil:1","other:2"],"Layers":["a/layer.tar","b/layer.tar"]}]`

func TestNamedArchive(t *testing.T) {
	var out bytes.Buffer
	archive := pack(t, plainEntry("a/layer.tar", "1"), plainEntry("b/layer.tar", "2"), plainEntry("c.json", "{}"), plainEntry("repositories", `{"evil":{}}`),
		plainEntry("index.json", "{}"), plainEntry("./manifest.json", twoLayers))
	if err := named(&out, bytes.NewReader(archive), "docker.io/library/good:1"); err != nil {
		t.Fatal(err)
	}
	all, manifest := names(t, out.Bytes())
	if got := strings.Join(all, " "); got != "a/layer.tar b/layer.tar c.json manifest.json" {
		t.Errorf("the archive has %s", got)
	}
	var m []archiveManifest
	if err := json.Unmarshal([]byte(manifest), &m); err != nil || len(m) != 1 || len(m[0].RepoTags) != 1 || m[0].RepoTags[0] != "docker.io/library/good:1" || len(m[0].Layers) != 2 {
		t.Errorf("it calls itself %s", manifest)
	}
	for what, entries := range map[string][]*tar.Header{
		"none":        {plainEntry("c.json", "{}")},
		"two images":  {plainEntry("manifest.json", `[{},{}]`)},
		"no image":    {plainEntry("manifest.json", `[]`)},
		"twice":       {plainEntry("manifest.json", twoLayers), plainEntry("manifest.json", twoLayers)},
		"way out":     {plainEntry("../x", "1"), plainEntry("manifest.json", twoLayers)},
		"absolute":    {plainEntry("/x", "1"), plainEntry("manifest.json", twoLayers)},
		"a device":    {{Typeflag: tar.TypeChar, Name: "x"}, plainEntry("manifest.json", twoLayers)},
		"a hard link": {{Typeflag: tar.TypeLink, Name: "x", Linkname: "/etc/shadow"}, plainEntry("manifest.json", twoLayers)},
		"linked":      {{Typeflag: tar.TypeSymlink, Name: "manifest.json", Linkname: "x"}},
	} {
		if err := named(io.Discard, bytes.NewReader(pack(t, entries...)), "good:1"); err == nil {
			t.Errorf("an archive with %s is taken", what)
		}
	}
}

func TestWithoutLayers(t *testing.T) {
	link := &tar.Header{Typeflag: tar.TypeSymlink, Name: "b/layer.tar", Linkname: "../a/layer.tar"}
	for name, c := range map[string]struct {
		archive []byte
		lowest  int
		want    string
	}{
		"one of two":  {pack(t, plainEntry("a/layer.tar", "1"), plainEntry("b/layer.tar", "2"), plainEntry("manifest.json", twoLayers)), 1, "b/layer.tar manifest.json"},
		"all":         {pack(t, plainEntry("a/layer.tar", "1"), plainEntry("b/layer.tar", "2"), plainEntry("manifest.json", twoLayers)), 9, "manifest.json"},
		"none":        {pack(t, plainEntry("a/layer.tar", "1"), plainEntry("b/layer.tar", "2"), plainEntry("manifest.json", twoLayers)), 0, "a/layer.tar b/layer.tar manifest.json"},
		"linked":      {pack(t, plainEntry("a/layer.tar", "1"), link, plainEntry("manifest.json", twoLayers)), 1, "a/layer.tar b/layer.tar manifest.json"},
		"there twice": {pack(t, plainEntry("a/layer.tar", "1"), plainEntry("manifest.json", `[{"Layers":["a/layer.tar","a/layer.tar"]}]`)), 1, "a/layer.tar manifest.json"},
	} {
		o, err := outlineOf(bytes.NewReader(c.archive))
		var out bytes.Buffer
		if err == nil {
			err = withoutLayers(&out, bytes.NewReader(c.archive), o, c.lowest)
		}
		if err != nil {
			t.Fatal(name, err)
		}
		if all, _ := names(t, out.Bytes()); strings.Join(all, " ") != c.want {
			t.Errorf("%s: %q", name, all)
		}
	}
}

// FuzzArchive takes in anything. What an engine is given has one image of one name.
func FuzzArchive(f *testing.F) {
	f.Add(pack(f, plainEntry("a/layer.tar", "1"), plainEntry("manifest.json", twoLayers)))
	f.Add([]byte("junk"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		if o, err := outlineOf(bytes.NewReader(archive)); err == nil {
			_ = withoutLayers(io.Discard, bytes.NewReader(archive), o, 1)
		}
		var out bytes.Buffer
		if named(&out, bytes.NewReader(archive), "good:1") != nil {
			return
		}
		o := 0
		if err := eachEntry(&out, func(h *tar.Header, content io.Reader) error {
			if h.Name != manifestName {
				return nil
			}
			o++
			m, err := readManifest(content)
			if err == nil && (len(m.RepoTags) != 1 || m.RepoTags[0] != "good:1") {
				t.Errorf("it calls itself %q", m.RepoTags)
			}
			return err
		}); err != nil || o != 1 {
			t.Errorf("%d manifests, %v", o, err)
		}
	})
}
