package noded

import (
	"context"
	"maps"
	"slices"
	"testing"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

func TestEveryEngineIsOpened(t *testing.T) {
	if got, want := slices.Sorted(maps.Keys(openers)), slices.Sorted(slices.Values(keyway.EngineNames())); !slices.Equal(got, want) {
		t.Errorf("opened are %q, known are %q", got, want)
	}
}

// TestOneMisconfiguredEngine checks that one misconfigured engine does not affect the others.
func TestOneMisconfiguredEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "/nowhere/docker.sock") // without unix://
	t.Setenv("CONTAINER_HOST", "unix:///nowhere/podman.sock")
	var names []string
	for _, e := range openEngines(t.TempDir(), engine.Guest{}) {
		names = append(names, e.Name())
		_, broken := e.(misconfigured)
		if broken != (e.Name() == keyway.EngineDocker) {
			t.Errorf("%s is a %T", e.Name(), e)
		}
		if err := e.Probe(context.Background()); broken && !keyway.Is(err, keyway.BadConfig) {
			t.Errorf("%s: %v", e.Name(), err)
		}
	}
	if !slices.Equal(names, keyway.EngineNames()) {
		t.Errorf("the engines are %q", names)
	}
}
