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

// TestMuxGivesWayToAnotherControlPath checks that ssh shares connections as the user's configuration
// says, if that says so after the workspace was made.
func TestMuxGivesWayToAnotherControlPath(t *testing.T) {
	t.Parallel()
	w := muxed(t)
	const config = "/root/.ssh/config"
	before, err := w.Laptop.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, config, before+"\nHost *\n  ControlMaster auto\n  ControlPath /tmp/own-%n\n  ControlPersist 60\n")
	for range 2 { // the first ssh tells the mux
		w.must(t, "ssh", train, "true")
	}
	w.must(t, "ssh", "-o", "ControlPath=/tmp/own-"+train, "-O", "check", train)
	w.must(t, "ssh", "-O", "exit", train)
	if said := w.must(t, "keyway", "mux"); strings.Contains(said, train) {
		t.Errorf("the mux is on: %s", said)
	}
}

// TestMuxKnowsAnotherWorkspaceOfTheName checks that the name leads to the workspace that has it now,
// while the mux still has a connection to the one that had it.
func TestMuxKnowsAnotherWorkspaceOfTheName(t *testing.T) {
	t.Parallel()
	w := muxed(t)
	held := w.open(t, "echo begun; cat")
	defer func() { held.in.Close(); _ = held.wait() }()
	held.expect(t, "begun")
	w.must(t, "ssh", train, "touch /tmp/earlier")
	w.must(t, "keyway", "forget", train)
	w.must(t, "keyway", "up", "--engine", "host", "--name", train)
	const look = "ls /tmp/earlier 2>/dev/null; echo ran"
	for _, argv := range [][]string{{"ssh", train, look}, {"keyway", "run", train, "--", "sh", "-c", look}} {
		if got := w.must(t, argv...); got != "ran\n" {
			t.Errorf("%v leads to the earlier workspace: %q", argv, got)
		}
	}
}
