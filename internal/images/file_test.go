package images

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/test/imagetars"
)

const oneManifest = `[{"Config":"c.json","RepoTags":["team/x:1"],"Layers":["a/layer.tar"]}]`

func TestReadArchive(t *testing.T) {
	dir := t.TempDir()
	good := imagetars.Of(t, "a/layer.tar", strings.Repeat("x", 9000), "c.json", "{}", "manifest.json", oneManifest)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(good); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, data := range map[string][]byte{"good": good, "packed": packed.Bytes(), "backwards": imagetars.Of(t, "manifest.json", oneManifest, "./c.json", "{}")} {
		const empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
		if a, err := readArchive(write(name, data)); err != nil || a.name != "team/x:1" || a.is.ID != empty || a.layers != 1 {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	hostile := imagetars.Hostile(t, "{}")
	hostile["cut in its checksum"] = packed.Bytes()[:packed.Len()-9]
	hostile["no configuration"] = imagetars.Of(t, "manifest.json", oneManifest)
	for name, data := range hostile {
		if a, err := readArchive(write("hostile.tar", data)); !keyway.Is(err, keyway.Usage) || keyway.AsError(err).Next == "" {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	for _, odd := range []string{dir, filepath.Join(dir, "none.tar")} {
		if _, err := readArchive(odd); !keyway.Is(err, keyway.Usage) {
			t.Errorf("%s: %v", odd, err)
		}
	}
}

func FuzzDescribeArchive(f *testing.F) {
	f.Add(imagetars.Of(f, "a/layer.tar", "x", "c.json", "{}", "manifest.json", oneManifest))
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := describeArchive(bytes.NewReader(data)); err == nil && !strings.HasPrefix(a.is.ID, "sha256:") {
			t.Errorf("%+v", a)
		}
	})
}

// TestLeft checks that a failure of the laptop to answer a question is distinguished from a failure
// of the place.
func TestLeft(t *testing.T) {
	why := keyway.Errorf(keyway.ImageNotFound, "none")
	if got, did := Left(fmt.Errorf("x: %w", left(why))); !did || !errors.Is(got, why) {
		t.Errorf("%v, %v", got, did)
	}
	for _, err := range []error{nil, why, io.EOF, context.Canceled, left(nil)} {
		if _, did := Left(err); did {
			t.Errorf("%v was left", err)
		}
	}
}

// untagged is a place whose archives have no names for images, as archives by a digest or an ID
// have none.
type untagged struct{ engine }

func (e *untagged) ExportImage(context.Context, string, string, int) (io.ReadCloser, error) {
	var b bytes.Buffer
	ref, err := name.NewDigest("team/model@sha256:" + strings.Repeat("0", 64))
	if err == nil {
		err = tarball.Write(ref, e.base, &b)
	}
	return io.NopCloser(&b), err
}

// TestASavedImageMayHaveNoName checks that an image that the engine saves without a name is
// reported as one without.
func TestASavedImageMayHaveNoName(t *testing.T) {
	base := aBase(t)
	file := filepath.Join(t.TempDir(), "a.tar")
	for _, c := range []struct {
		image    string
		from     api.Node
		nameless bool
	}{
		{"team/model:1", &engine{base: base}, false},
		{"sha256:1a2b3c", &untagged{engine{base: base}}, true}, {"1a2b3c", &untagged{engine{base: base}}, true},
	} {
		done, err := Save(t.Context(), places{"gpu1": clientOf(t, c.from)}, ImageCopy{From: "gpu1", Image: c.image}, file, nothing)
		if err != nil || done.Nameless != c.nameless {
			t.Errorf("%s: %+v, %v", c.image, done, err)
		}
	}
}
