package main

import (
	"strings"
	"testing"

	"keyway/internal/images"
	"keyway/internal/keyway"
)

// TestWhatWasBakedIsToldInLines checks each line of the report, also for texts of a place.
func TestWhatWasBakedIsToldInLines(t *testing.T) {
	done := images.Baked{Image: "team/x:ssh", Base: "team/x:1", Arch: []string{"amd64", "arm64"}, Place: "gpu1"}
	const baked = " has team/x:ssh: team/x:1 with the guest in it, for linux/amd64 and linux/arm64\n"
	for want, change := range map[string]func(*images.Baked){
		"gpu1" + baked:    func(*images.Baked) {},
		"./x.tar" + baked: func(d *images.Baked) { d.File = "./x.tar" },
		"the registry" + baked + "its digest: sha256:0a\n":         func(d *images.Baked) { d.Pushed = "sha256:0a" },
		"gpu1" + strings.Replace(baked, "team/x:1", "odd?name", 1): func(d *images.Baked) { d.Base = "odd\x1bname" },
	} {
		d := done
		change(&d)
		var out strings.Builder
		if err := tellBaked(&out, d); err != nil || out.String() != want {
			t.Errorf("got %q, %v, want %q", &out, err, want)
		}
	}
}

// TestTheNameOfANewImage checks that bake refuses names that no engine accepts, with advice.
func TestTheNameOfANewImage(t *testing.T) {
	for tag, takes := range map[string]bool{"team/x:ssh": true, "127.0.0.1:5000/x": true, "Team/x": false, "x:a:b": false, "x@sha256:0": false, "": false} {
		if err := (bakeOptions{tag: tag}).check(); (err == nil) != takes || err != nil && (!keyway.Is(err, keyway.Usage) || keyway.AsError(err).Help() == "") {
			t.Errorf("%q: %v", tag, err)
		}
	}
}

// TestWhatIsPinnedIsCopiedByItsTag checks that no copy by a digest is advised, because only a
// registry resolves a digest.
func TestWhatIsPinnedIsCopiedByItsTag(t *testing.T) {
	byDigest := "team/x@sha256:" + strings.Repeat("0", 64)
	for _, c := range []struct{ image, named, want string }{
		{"team/x:1", "team/x:1", "if you have it here: keyway image copy local gpu1 team/x:1"},
		{byDigest, "team/x:1", "if team/x:1 is that one here: keyway image copy local gpu1 team/x:1"},
		{byDigest, byDigest, "give it a tag"},
	} {
		i := placeImage{place: "gpu1", image: c.image, named: c.named, opens: images.Want{Image: c.image}}
		got := i.copying("")
		if !strings.Contains(got, c.want) || strings.Contains(got, "@") {
			t.Errorf("%s, named %s: %s", c.image, c.named, got)
		}
	}
}
