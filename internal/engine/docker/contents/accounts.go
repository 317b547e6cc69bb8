package contents

import (
	"bytes"
	"io/fs"
	"slices"
	"strings"

	"keyway/internal/installed"
	"keyway/internal/keyway"
)

// maxAccountFile bounds a file of users or groups, in bytes: the answer about many workspaces must have room for all
// of them. A larger one counts as empty.
const maxAccountFile = 256 << 10

// accountFiles are passwd(5) and group(5), with the number of fields in a line.
var accountFiles = []struct {
	kind, path string
	fields     int
}{{"user", "/etc/passwd", 7}, {"group", "/etc/group", 4}}

// Comments of the users that are added at each start of a container: by the guest, which gives a name to the
// caller's uid, and by Podman.
const (
	commentOfGuest  = "keyway"
	commentOfPodman = "container user"
)

// accounts returns the users and groups of a container, sorted, as keyway.Environment has them. It omits those
// that a start of the container adds, and those in a mounted file, which is no part of the image.
func (c Container) accounts(files fs.FS) []string {
	all := []string{}
	for _, of := range accountFiles {
		if c.hides(of.path) {
			continue
		}
		data, _ := installed.ReadFile(files, strings.TrimPrefix(of.path, "/"), maxAccountFile)
		seen := map[string]bool{}
		for line := range bytes.Lines(data) {
			f := strings.Split(strings.TrimRight(string(line), "\r\n"), ":")
			if len(f) != of.fields || f[0] == "" || seen[f[0]] || startAdds(f) {
				continue
			}
			seen[f[0]] = true // the first of a name counts, as for getpwnam(3)
			all = append(all, of.kind+" "+f[0]+"="+strings.Join(identity(f), ":"))
		}
	}
	slices.Sort(all)
	return all[:min(len(all), keyway.MaxAccounts)]
}

// identity returns the fields that identify a user or group, without password and comment.
func identity(f []string) []string {
	if len(f) == 4 {
		return f[2:]
	}
	return append(slices.Clone(f[2:4]), f[5:]...)
}

// startAdds reports whether a line was added by the guest or by Podman. Podman's group for a user of a number
// has that number as its name.
func startAdds(f []string) bool {
	if len(f) == 4 {
		return f[0] == f[2]
	}
	return f[4] == commentOfGuest || f[4] == commentOfPodman
}

// hides reports whether a mount hides the image's file at path.
func (c Container) hides(path string) bool {
	return slices.ContainsFunc(c.Mounted, func(dir string) bool { return dir == path || strings.HasPrefix(path, strings.TrimRight(dir, "/")+"/") })
}

// changesAccounts reports whether the daemon lists a change of a file of users or groups.
func (c Container) changesAccounts() bool {
	return slices.ContainsFunc(c.Changes, func(f keyway.FileChange) bool {
		return f.Path == accountFiles[0].path || f.Path == accountFiles[1].path
	})
}
