package contents

import (
	"maps"
	"slices"

	"github.com/moby/moby/api/types/container"

	"keyway/internal/keyway"
)

// maxChanges bounds the changes of a container that are looked at.
const maxChanges = 1 << 20

// Changes converts the changes that a daemon lists.
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

// Mounted returns the paths at which mounts hide the image's files.
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
