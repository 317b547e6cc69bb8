package contents

import (
	"maps"
	"slices"

	"github.com/moby/moby/api/types/container"

	"keyway/internal/keyway"
)

// maxChanges bounds how many changes of a container are looked at.
const maxChanges = 1 << 20

// Changes are those that a daemon tells of.
func Changes(said []container.FilesystemChange) []keyway.FileChange {
	said = said[:min(len(said), maxChanges)]
	all := make([]keyway.FileChange, len(said))
	for i, c := range said {
		all[i] = keyway.FileChange{Path: c.Path, Change: keyway.ChangeAdded}
		switch c.Kind {
		case container.ChangeModify:
			all[i].Change = keyway.ChangeModified
		case container.ChangeDelete:
			all[i].Change = keyway.ChangeDeleted
		}
	}
	return all
}

// Mounted are the places at which something else than the image's files is.
func Mounted(c container.InspectResponse) []string {
	var all []string
	for _, m := range c.Mounts {
		all = append(all, m.Destination)
	}
	if c.HostConfig != nil {
		all = slices.AppendSeq(all, maps.Keys(c.HostConfig.Tmpfs))
	}
	return all
}
