package images

import (
	"slices"
	"strings"
	"testing"
)

// TestDigests checks that each digest is listed once, with the repository that was named first, and
// that digests that only this machine gives do not count as a registry's.
func TestDigests(t *testing.T) {
	one, two := "sha256:"+strings.Repeat("1", 64), "sha256:"+strings.Repeat("2", 64)
	for what, c := range map[string]struct{ image, named, want string }{
		"ours first":          {"team:1", "a/copy@" + two + " docker.io/library/team@" + one, one + " " + two},
		"in two repositories": {"team:1", "team@" + one + " team@" + two + " z/copy@" + one, one + " " + two},
		"three times":         {"team:1", "a@" + one + " b@" + two + " c@" + one, one + " " + two},
		"built by Podman":     {"localhost/team:1", "localhost/team@" + one, ""},
		"built, and pushed":   {"localhost/team:1", "localhost/team@" + one + " reg.example/team@" + two, two},
		"of a registry here":  {"localhost:5000/team:1", "localhost:5000/team@" + one, one},
		"no digest":           {"team:1", "team", ""},
	} {
		if got := digests(c.image, strings.Fields(c.named)); !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}
