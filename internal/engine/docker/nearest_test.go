package docker

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

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"", "ab", 2}, {"ab", "", 2}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) is %d, want %d", c.a, c.b, got, c.want)
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
