package link

import "testing"

// TestAnotherDockerIsTold checks the notice that the link keeps the variables of the command that
// started it.
func TestAnotherDockerIsTold(t *testing.T) {
	for _, name := range engineEnv {
		t.Setenv(name, "")
	}
	t.Setenv("DOCKER_HOST", "unix:///a.sock")
	s := Status{Engine: chosenEngine()}
	if name, _, _ := s.OtherEngine(); name != "" {
		t.Errorf("%s differs from itself", name)
	}
	for _, name := range engineEnv {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "other")
			if differs, ours, theirs := s.OtherEngine(); differs != name || ours != "other" || theirs != s.Engine[name] {
				t.Errorf("%s: %q here, %q there", differs, ours, theirs)
			}
		})
	}
	t.Setenv("DOCKER_HOST", "")
	if name, ours, theirs := s.OtherEngine(); name != "DOCKER_HOST" || ours != "" || theirs != "unix:///a.sock" {
		t.Errorf("%s: %q here, %q there", name, ours, theirs)
	}
}
