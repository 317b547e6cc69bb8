package main

import (
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// TestATmpfsIsAdvisedAsOne checks the advice about a tmpfs, which has no source that could be
// mounted elsewhere.
func TestATmpfsIsAdvisedAsOne(t *testing.T) {
	for source, want := range map[string]string{"": "mount it elsewhere, for example: --tmpfs /scratch:size=8gb", "/data": "mount it elsewhere: -v /data:/mnt/data"} {
		if got := next("", []keyway.Advice{{Step: keyway.MountElsewhere, About: []string{source}}}, ""); got != want {
			t.Errorf("%q: %s", source, got)
		}
	}
}

// TestAnImageIsNoTemplate checks that a name that only an image can have is answered with the typed
// command, in which the option for images precedes the name.
func TestAnImageIsNoTemplate(t *testing.T) {
	for command, typed := range map[string]string{
		"": "keyway up --image ", "check": "keyway check --image ", "bake": "keyway bake --image ", "pin": "", "drift": "",
	} {
		for word, image := range map[string]bool{
			"some/image": true, "some/image:1": true, "debian:12": true, "reg.example:5000/a/b": true,
			"team@sha256:" + strings.Repeat("0", 64): true, "pytroch": false, "a b/c": false, "-x/y": false, "x;rm -rf /": false,
		} {
			err := keyway.AsError(meantImage(command, word, forCommand(command, keyway.Errorf(keyway.Usage, "no").Advise(keyway.SeeTemplates))))
			got := nextOf(err)
			if said := strings.Contains(got, "if it is an image: "+typed+word); said != (image && typed != "") || !strings.Contains(got, "keyway templates") {
				t.Errorf("%s %s: %q", command, word, got)
			}
			if command != "" && strings.Contains(got, "keyway up") {
				t.Errorf("%s %s advises another command: %q", command, word, got)
			}
		}
	}
}

// TestOddNamesOfTemplatesAreAdvised checks that advised commands can be typed unchanged, even if a
// template's name looks like an option or like several words.
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
