package docker

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/mount"

	"keyway/internal/keyway"
)

// TestSecretsStayInTheContainer checks that secrets are in the container's volume, for its user
// alone, and in no label.
func TestSecretsStayInTheContainer(t *testing.T) {
	s := keyway.Spec{Name: "x", Files: keyway.Files{Secrets: []keyway.Secret{{Name: "token", Value: []byte("s3cret")}}}}
	e := &Engine{client: nobody(t), owner: "1000"}
	labels, err := e.labels(s, modeBind, gpuOrder{})
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range labels {
		if strings.Contains(value, "s3cret") || strings.Contains(value, "czNjcmV0") {
			t.Errorf("the label %s holds the secret", name)
		}
	}
	archive, err := volumeArchive([]mount.Mount{{Target: "/mnt/fresh"}}, s.Secrets, 1000, 100, true)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || h.Uid != 1000 || h.Gid != 100 {
			t.Fatalf("%+v, %v", h, err)
		}
		got[h.Name] = h.Mode
	}
	if want := map[string]int64{"mnt/fresh/": 0o755, "run/secrets/": 0o755, "run/secrets/token": 0o400}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestLabelsOfPeopleHideNone(t *testing.T) {
	e := &Engine{client: nobody(t), owner: "1000"}
	labels, err := e.labels(keyway.Spec{Name: "x", Origin: keyway.Origin{Labels: map[string]string{"team": "vision", labelOwner: "0"}}}, modeBind, gpuOrder{})
	if err != nil || labels["team"] != "vision" || labels[labelOwner] != "1000" {
		t.Errorf("%v, %v", labels, err)
	}
}
