package keyway

import (
	"strings"
	"testing"
)

const honestConfig = `{"created":"2026-11-30T01:02:03.5Z","os":"linux","architecture":"amd64","rootfs":{"diff_ids":["sha256:1"]},
	"config":{"Env":["PATH=/bin"],"Cmd":["sh"],"Volumes":{"/data":{}},"Healthcheck":{"Test":["CMD","x"],"Interval":1000000000}}}`

// TestConfigHash checks that one image whose configuration two engines write in different ways has
// one hash, and that two images that differ in something that counts have two.
func TestConfigHash(t *testing.T) {
	want := ConfigHash([]byte(honestConfig))
	if golden := "sha256:e0c86e4f8868a4e0b5b80114114a2daffe65eafa3daa38c87e5cf7c4f3e09e93"; want != golden { // docs/PROTOCOL.api.md
		t.Fatal(want)
	}
	for what, c := range map[string]struct {
		old, new string
		same     bool
	}{
		"as it is":                {"", "", true},
		"another zone":            {"2026-11-30T01:02:03.5Z", "2026-11-30T03:02:03.5+02:00", true},
		"none written out":        {`"Cmd"`, `"User":"","Labels":null,"OnBuild":[],"ExposedPorts":{},"Cmd"`, true},
		"of a build's container":  {`"Cmd"`, `"Hostname":"0123","Image":"sha256:2","AttachStdin":false,"Cmd"`, true},
		"a history":               {`"os"`, `"history":[{"created_by":"x"}],"os"`, true},
		"another time":            {"03.5Z", "03.6Z", false},
		"another command":         {`["sh"]`, `["sh","-c"]`, false},
		"a variable":              {`"PATH=/bin"`, `"PATH=/bin","LD_PRELOAD=/x"`, false},
		"their order":             {`"PATH=/bin"`, `"A=1","PATH=/bin"`, false},
		"a user":                  {`"Cmd"`, `"User":"0","Cmd"`, false},
		"an entry point":          {`"Cmd"`, `"Entrypoint":["/evil"],"Cmd"`, false},
		"another volume":          {"/data", "/date", false},
		"another health check":    {"1000000000", "1", false},
		"what runs under another": {`"Cmd":["sh"]`, `"Entrypoint":["sh"]`, false},
		"another processor":       {"amd64", "arm64", false},
		"another system":          {"linux", "windows", false},
	} {
		if got := ConfigHash([]byte(strings.Replace(honestConfig, c.old, c.new, 1))); (got == want) != c.same || got == "" {
			t.Errorf("%s: same is %t, want %t", what, got == want, c.same)
		}
	}
	for _, none := range []string{"", "[]", `{"created":7}`, `{"config":[]}`} {
		if got := ConfigHash([]byte(none)); got != "" {
			t.Errorf("%q says %s", none, got)
		}
	}
}

func TestSameImage(t *testing.T) {
	image := ImageLayers{ID: "sha256:1", ConfigHash: "sha256:2", Layers: []string{"sha256:a", "sha256:b"}}
	for what, c := range map[string]struct {
		other ImageLayers
		same  bool
	}{
		"the ID alone":          {ImageLayers{ID: "sha256:1"}, true},
		"another kind of ID":    {ImageLayers{ID: "sha256:9", ConfigHash: "sha256:2", Layers: []string{"sha256:a", "sha256:b"}}, true},
		"an older node":         {ImageLayers{ID: "sha256:9", Layers: []string{"sha256:a", "sha256:b"}}, false},
		"other layers":          {ImageLayers{ID: "sha256:9", ConfigHash: "sha256:2", Layers: []string{"sha256:a"}}, false},
		"other settings":        {ImageLayers{ID: "sha256:9", ConfigHash: "sha256:3", Layers: []string{"sha256:a", "sha256:b"}}, false},
		"nothing":               {ImageLayers{}, false},
		"settings and no layer": {ImageLayers{ConfigHash: "sha256:2"}, false},
	} {
		if image.SameImage(c.other) != c.same || c.other.SameImage(image) != c.same {
			t.Errorf("%s: want %t", what, c.same)
		}
	}
	if (ImageLayers{}).SameImage(ImageLayers{}) {
		t.Error("nothing is an image")
	}
}
