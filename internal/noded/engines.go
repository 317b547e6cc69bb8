package noded

import (
	"keyway/internal/dirs"
	"keyway/internal/engine"
	"keyway/internal/engine/docker"
	"keyway/internal/engine/host"
	"keyway/internal/keyway"
)

// openers make the engines of keyway.Engines. To add an engine, name it there with its abilities,
// and open it here.
var openers = map[string]func(root string, guest engine.Guest) (engine.Engine, error){
	keyway.EngineDocker: func(root string, guest engine.Guest) (engine.Engine, error) { return opened(docker.New(root, guest)) },
	keyway.EnginePodman: func(root string, guest engine.Guest) (engine.Engine, error) {
		return opened(docker.New(root, guest, docker.Podman()))
	},
	keyway.EngineHost: func(root string, guest engine.Guest) (engine.Engine, error) {
		return host.New(root, guest, host.ShortNamesIn(dirs.Machine)), nil
	},
}

// opened returns the result of New, without an Engine that holds a nil pointer.
func opened(e *docker.Engine, err error) (engine.Engine, error) {
	if err != nil {
		return nil, err
	}
	return e, nil
}

// openEngines makes the engines of this place, the preferred one first. An engine whose
// configuration is unusable is present, too, and reports the reason; the others work. If Docker's
// socket belongs to Podman, there is only one of the two.
func openEngines(root string, guest engine.Guest) []engine.Engine {
	var engines []engine.Engine
	seen := map[string]bool{}
	for _, kind := range keyway.Engines {
		e, err := openers[kind.Name](root, guest)
		if err != nil {
			e = misconfigured{kind.Name, err}
		}
		if !seen[e.Name()] {
			seen[e.Name()] = true
			engines = append(engines, e)
		}
	}
	return engines
}
