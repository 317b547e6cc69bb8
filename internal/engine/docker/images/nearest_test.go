package images

import "testing"

func TestNearest(t *testing.T) {
	present := []string{
		"debian:12", "pytorch/pytorch:2.8.0-cuda12.6-cudnn9-runtime", "pytorch/pytorch:2.7.1-cuda12.6-cudnn9-runtime",
		"registry.example/team/train:v1", "<none>:<none>", "keyway-lab/base:latest",
	}
	for image, want := range map[string]string{
		"debian:13": "debian:12",
		"debain":    "debian:12",
		"pytorch/pytorch:2.8-cuda12.6-cudnn9-runtime": "pytorch/pytorch:2.8.0-cuda12.6-cudnn9-runtime",
		"pytorch/pytorch:2.7.0-cuda12.6-cudnn9-devel": "pytorch/pytorch:2.7.1-cuda12.6-cudnn9-runtime",
		"registry.example/team/trian:v1":              "registry.example/team/train:v1",
		"keyway-lab/bse":                              "keyway-lab/base:latest",
		"ubuntu:24.04":                                "", // nothing like it
		"sha256:0123456789abcdef":                     "",
		"":                                            "",
	} {
		if got := nearest(image, present); got != want {
			t.Errorf("nearest to %q is %q, want %q", image, got, want)
		}
	}
}

func FuzzNearest(f *testing.F) {
	f.Add("debian:13", "debian:12")
	f.Add("a/b@sha256:0", "a/b:c")
	f.Fuzz(func(t *testing.T, image, present string) {
		if got := nearest(image, []string{present}); got != "" {
			if _, ok := splitRef(got); !ok {
				t.Errorf("%q is no image", got)
			}
		}
	})
}

func TestSameName(t *testing.T) {
	for b, want := range map[string]bool{
		"team:1": true, "docker.io/team:1": true, "docker.io/library/team:1": true, "library/team:1": true, "index.docker.io/library/team:1": true,
		"localhost/team:1": true, "team:2": false, "team": false, "other/team:1": false, "registry.example/team:1": false, "": false, "Team:1": false,
		"team:1@sha256:0123456789012345678901234567890123456789012345678901234567890123": false,
	} {
		if got := (&Store{}).SameName("team:1", b); got != want || (&Store{}).SameName(b, "team:1") != want {
			t.Errorf("team:1 and %q: %v, want %v", b, got, want)
		}
	}
	if !(&Store{}).SameName("team", "team:latest") || (&Store{}).SameName("", "") {
		t.Error("latest is the tag where none is said, and no name is no name")
	}
}
