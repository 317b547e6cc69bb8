package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWithoutAHome checks that commands which a service starts without HOME use the home directory
// of the account, as ssh does.
func TestWithoutAHome(t *testing.T) {
	f := newFaulty(t)
	state := filepath.Join(f.dir, ".local", "state", "keyway")
	for _, home := range []string{"HOME=", "HOME=" + f.home} {
		if err := os.RemoveAll(state); err != nil {
			t.Fatal(err)
		}
		said, code := f.run("files", []string{home, "XDG_STATE_HOME=", "XDG_CONFIG_HOME="}, "ls")
		if _, err := os.Stat(state); err != nil || code != 0 {
			t.Errorf("%s: %d: %s%v", home, code, said, err)
		}
	}
}

// TestOtherRecords checks the error for a host that has an entry in ssh's configuration and no
// record of keyway's: the host is a workspace, and not a place.
func TestOtherRecords(t *testing.T) {
	f := newFaulty(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f.config(map[string]string{"train": "ProxyCommand " + self + " proxy train"})
	said, code := f.program("files", []string{"XDG_STATE_HOME=" + f.dir + "/elsewhere"}, "ssh", "train", "true")
	if code != 255 || !strings.HasPrefix(said, "keyway: your ssh knows train, and the records in "+f.dir+"/elsewhere/keyway do not have it\n  → is HOME or XDG_STATE_HOME another one") {
		t.Errorf("%d: %s", code, said)
	}
}
