//go:build linux

package mux

import (
	"strings"
	"testing"
)

// TestMuxHeedsAConfigurationThatChanges checks that a change of the user's configuration holds
// for the next ssh, although the mux already holds the workspace ready.
func TestMuxHeedsAConfigurationThatChanges(t *testing.T) {
	t.Parallel()
	w := muxed(t)
	const config = "/root/.ssh/config"
	before, err := w.Laptop.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	run := func(mode string) result {
		return w.do("bash", "-c", "echo 'echo ran' | timeout 4 ssh "+mode+" train; echo $?")
	}
	for _, c := range []struct {
		option   string
		obstacle bool
	}{{"RemoteCommand echo remote", false}, {"SessionType none", true}} {
		w.write(t, config, "Host train\n  "+c.option+"\n\n"+before)
		alone := run("-o ControlPath=none")
		sessions := w.sessions(t)
		with := run("")
		if alone.Stdout != with.Stdout || alone.Stderr != strings.Replace(with.Stderr, fallback, "", 1) {
			t.Errorf("%s: alone: %s\nwith the mux: %s", c.option, alone, with)
		}
		if served := w.sessions(t) != sessions; served == c.obstacle {
			t.Errorf("%s: the mux has served it: %t", c.option, served)
		}
	}
	if again := run(""); again.Stderr != "" {
		t.Errorf("the next one: %s", again)
	}
	if said := w.must(t, "keyway", "mux"); !strings.Contains(said, `"sessiontype none"`) {
		t.Errorf("it says why the mux is not ready: %s", said)
	}
}
