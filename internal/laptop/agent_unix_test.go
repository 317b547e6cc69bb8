//go:build unix

package laptop

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// TestFollowAgent checks that the one path that ssh_config names leads to the agent of a new login,
// which has another SSH_AUTH_SOCK.
func TestFollowAgent(t *testing.T) {
	dir := t.TempDir()
	path, old, theirs := filepath.Join(dir, "agent.sock"), filepath.Join(dir, "old"), filepath.Join(dir, "theirs")
	target := func() string {
		to, _ := os.Readlink(path)
		return to
	}
	followAgent(path, theirs)
	if target() != "" {
		t.Error("a path was made that nobody asked for")
	}
	serve := func(socket string) net.Listener {
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	first := serve(old)
	if err := relink(old, path); err != nil {
		t.Fatal(err)
	}
	followAgent(path, theirs)
	if target() != old {
		t.Error("a living agent was left for a dead one")
	}
	serve(theirs)
	followAgent(path, theirs)
	if target() != old {
		t.Error("a living agent was left")
	}
	first.Close()
	followAgent(path, "")
	if target() != old {
		t.Error("changed for no agent at all")
	}
	followAgent(path, theirs)
	if target() != theirs {
		t.Errorf("the path leads to %q", target())
	}
}

// TestDoctorTellsThatAgentsAreNotSeen checks that an unreadable record of agents does not count as
// empty.
func TestDoctorTellsThatAgentsAreNotSeen(t *testing.T) {
	state := t.TempDir()
	t.Setenv("XDG_STATE_HOME", state)
	if err := os.Mkdir(filepath.Join(state, "keyway"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, "keyway", "agents"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	here := &Laptop{runtime: t.TempDir()}
	if found := here.checkOthers(t.Context()); len(found) != 1 || found[0].Health != Failing {
		t.Errorf("%+v", found)
	}
}
