package keyway

import (
	"slices"
	"strings"
)

// The names of the engines, as users call them.
const (
	EngineDocker = "docker"
	EnginePodman = "podman"
	EngineHost   = "host"
)

// EngineKind describes an engine independently of any place.
type EngineKind struct {
	Name string
	// Images reports whether it makes containers from images; otherwise, its workspaces are
	// plain processes of the place.
	Images bool
}

// Engines are the engines that there are, the preferred one first. All that lists
// engines, on a laptop or at a place, goes by this list.
var Engines = []EngineKind{
	{Name: EngineDocker, Images: true},
	{Name: EnginePodman, Images: true},
	{Name: EngineHost},
}

// EngineNames returns the names of the engines, the preferred one first.
func EngineNames() []string {
	names := make([]string, len(Engines))
	for i, e := range Engines {
		names[i] = e.Name
	}
	return names
}

// EnginesOfImages returns the names of the engines that make containers from images.
func EnginesOfImages() []string {
	return slices.DeleteFunc(EngineNames(), func(name string) bool { return !UsesImages(name) })
}

// EngineChoice returns the names of the engines as in a sentence: a, b or c.
func EngineChoice() string {
	names := EngineNames()
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// UsesImages reports whether the engine of that name makes containers from images.
func UsesImages(name string) bool {
	return slices.ContainsFunc(Engines, func(e EngineKind) bool { return e.Name == name && e.Images })
}

// EngineWith returns the preferred engine that makes containers from images or, if images is
// false, that does not.
func EngineWith(images bool) string {
	for _, e := range Engines {
		if e.Images == images {
			return e.Name
		}
	}
	return ""
}
