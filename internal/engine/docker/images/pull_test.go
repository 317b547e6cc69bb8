package images

import (
	"bytes"
	"strings"
	"testing"

	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
)

func TestPullFailed(t *testing.T) {
	for said, want := range map[string]string{
		"manifest for pytorch/pytorch:9 not found: manifest unknown: manifest unknown":                                           "there is no image",
		"pull access denied for nothing, repository does not exist or may require 'docker login': denied":                        "does not exist, or you have no access to it",
		"Get https://registry-1.docker.io/v2/: dial tcp: lookup registry-1.docker.io: no such host":                              "cannot be reached",
		"net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)":               "cannot be reached",
		"toomanyrequests: You have reached your pull rate limit":                                                                 "allows no more pulls",
		"no matching manifest for linux/arm64/v8 in the manifest list entries":                                                   "does not run on this machine",
		"write /var/lib/docker/tmp/x: no space left on device":                                                                   "no space left",
		"initializing source docker://x:1: pinging container registry registry.invalid: Get \"https://registry.invalid/v2/\": x": "cannot be reached",
		"what?": "cannot be pulled",
	} {
		err := pullFailed(daemon.Identity{Arch: "arm64"}, "image", said)
		if !strings.Contains(err.Error(), want) || keyway.AsError(err).Help() == "" {
			t.Errorf("%q becomes %v", said, err)
		}
	}
}

func FuzzFollow(f *testing.F) {
	f.Add([]byte(`{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"a"}` + "\r\n" + `{"errorDetail":{"message":"no"}}`))
	f.Add([]byte(`{"status":"Downloading","progressDetail":{"current":-9,"total":-1},"id":"a"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		_ = follow(bytes.NewReader(in), "x", func(p keyway.Progress) {
			if p.Message != "x" {
				t.Errorf("reported %+v", p)
			}
		})
	})
}

func TestFollow(t *testing.T) {
	long := `{"status":"` + strings.Repeat("x", maxPullLine) + `"}`
	if err := follow(strings.NewReader(long), "x", func(keyway.Progress) {}); err == nil {
		t.Error("a line without end is read")
	}
	var last keyway.Progress
	news := `{"status":"Pulling fs layer","id":"a"}
{"status":"Downloading","progressDetail":{"current":5,"total":10},"id":"a"}
{"errorDetail":{"message":"no space left on device"},"error":"no space left on device"}`
	err := follow(strings.NewReader(news), "x", func(p keyway.Progress) { last = p })
	if err == nil || daemon.Says(err) != "no space left on device" || last.Done != 5 || last.Total != 10 {
		t.Errorf("%v, %+v", err, last)
	}
}

func TestImageFacts(t *testing.T) {
	for volume, good := range map[string]bool{
		"/data": true, "/.keyway2": true, "/.keyway": false, "/.keyway/": false, "/.keyway/bin": false, "/x/../.keyway/data": false,
		".keyway": false, "//.keyway//sessions": false,
	} {
		err := Facts{volumes: map[string]struct{}{volume: {}}}.check(daemon.Identity{}, "image")
		if (err == nil) != good {
			t.Errorf("VOLUME %s: %v", volume, err)
		}
		if err != nil && (!keyway.Is(err, keyway.Usage) || keyway.AsError(err).Help() == "") {
			t.Errorf("VOLUME %s: %v", volume, err)
		}
	}
	for _, c := range []struct {
		image, user string
		root        bool
	}{
		{"", "", true}, {"0", "", true}, {"0:0", "", true}, {"root", "", false}, {"1000", "", false}, {"1000", "0", true}, {"", "me", false}, {"00", "", false},
	} {
		if got := (Facts{user: c.image}).RunsAsRoot(c.user); got != c.root {
			t.Errorf("USER %q, --user %q: certainly root: %v", c.image, c.user, got)
		}
	}
}
