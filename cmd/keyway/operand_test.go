package main

import (
	"testing"

	"keyway/internal/keyway"
)

// A tmpfs has no source to mount elsewhere.
func TestATmpfsIsAdvisedAsOne(t *testing.T) {
	for source, want := range map[string]string{"": "mount it elsewhere, for example: --tmpfs /scratch:size=8gb", "/data": "mount it elsewhere: -v /data:/mnt/data"} {
		if got := next("", []keyway.Advice{{Step: keyway.MountElsewhere, About: []string{source}}}, ""); got != want {
			t.Errorf("%q: %s", source, got)
		}
	}
}

// A template may be called like an option, or like more than a word: what is advised is
// typed as it stands.
func TestOddNamesOfTemplatesAreAdvised(t *testing.T) {
	for name, typed := range map[string]string{"pytorch": "pytorch", "-rf": "-- -rf", "--image": "-- --image", "a b": "'a b'", "-x; y": "-- '-x; y'"} {
		for step, before := range map[keyway.Step]string{keyway.MeantTemplate: "did you mean: ", keyway.NameTemplate: "name one: "} {
			if got := next("", []keyway.Advice{{Step: step, About: []string{name}}}, ""); got != before+"keyway up "+typed {
				t.Errorf("%q: %s", name, got)
			}
		}
		err := forCommand("pin", keyway.Errorf(keyway.Usage, "no").Advise(keyway.MeantTemplate, name))
		if got := nextOf(keyway.AsError(err)); got != "did you mean: keyway pin "+typed {
			t.Errorf("%q: %s", name, got)
		}
	}
}
