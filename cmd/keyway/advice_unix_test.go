//go:build unix

package main

import (
	"strings"
	"testing"

	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/sshconfig"
)

// TestOnlyWhatIsRegisteredIsEntered checks that ssh is not advised for a workspace that this laptop
// does not know.
func TestOnlyWhatIsRegisteredIsEntered(t *testing.T) {
	newLaptop(t)
	here, err := laptop.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []keyway.Step{keyway.IsWorkspace, keyway.EnterOrRemove, keyway.UseOrRemove} {
		if said := sentence(keyway.Advice{Step: step, About: []string{"train"}}, "gpu1"); !strings.Contains(said, "keyway add gpu1/train") || strings.Contains(said, "keyway ssh") {
			t.Errorf("%s of an unknown one: %q", step, said)
		}
	}
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIHwwKLJpGBg5hy8VRb3SB4lXAeEZaV2mVCnGYKMuhVb"
	if err := here.Hosts.Add(sshconfig.Entry{Name: "train", Place: "gpu1", Engine: "docker", User: "root", HostKey: key}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []keyway.Step{keyway.IsWorkspace, keyway.EnterOrRemove} {
		if said := sentence(keyway.Advice{Step: step, About: []string{"train"}}, "gpu1"); !strings.Contains(said, "keyway ssh gpu1/train") || strings.Contains(said, "keyway add") {
			t.Errorf("%s of a known one: %q", step, said)
		}
	}
	_, err = here.Hosts.Lookup("gpu1/other")
	if said := nextOf(keyway.AsError(err)); !strings.Contains(said, "keyway add gpu1/other") || !strings.Contains(said, "keyway ls --on gpu1") {
		t.Errorf("of one that was made elsewhere: %q", said)
	}
}
