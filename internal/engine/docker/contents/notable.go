package contents

import (
	"maps"
	"path"
	"slices"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
)

// notable returns the files of the image that were changed or removed, and the added files that
// affect others, sorted by path. It omits files that runs produce: results, downloads, caches and
// compiled files.
func notable(changes []keyway.FileChange) []keyway.FileChange {
	parents := map[string]bool{} // a directory is listed because of its content
	for _, c := range changes {
		parents[path.Dir(c.Path)] = true
	}
	all := map[string]keyway.FileChange{}
	for _, c := range changes {
		if parents[c.Path] && c.Change != keyway.ChangeDeleted || !path.IsAbs(c.Path) || passing(c.Path) {
			continue
		}
		if c.Change == keyway.ChangeAdded && !decisive.MatchString(c.Path) {
			continue
		}
		c.Path = path.Clean(c.Path)
		all[c.Path] = c
	}
	sorted := make([]keyway.FileChange, 0, len(all))
	for _, p := range slices.Sorted(maps.Keys(all)) {
		sorted = append(sorted, all[p])
	}
	return sorted
}

// decisive matches files that decide what programs load: to add one is equivalent to changing all
// the files that it concerns.
var decisive = lazyregexp.New(`^/etc/(ld\.so\.(preload|conf)|ld\.so\.conf\.d/.+|pip\.conf|environment|profile|profile\.d/.+|bash\.bashrc|zsh/.+)$` +
	`|/(site|dist)-packages/[^/]+\.pth$|/((site|dist)-packages|python3[^/]*)/(site|user)customize\.py$`)

// passing reports whether a file is one of those that come and go while programs run.
func passing(p string) bool {
	for _, dir := range []string{"/tmp", "/var", "/run", "/dev", "/proc", "/sys", "/mnt", "/media", string(keyway.GuestHome)} {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return comesAndGoes.MatchString(p)
}

// comesAndGoes matches caches, histories, logs, compiled Python, and files that are generated at
// each start or from other files.
var comesAndGoes = lazyregexp.New(`(^|/)(__pycache__|\.cache|\.nv|\.triton|\.ipython|\.jupyter|\.config|\.local/share)(/|$)` +
	`|\.py[co]$|(^|/)\.[A-Za-z_]*(history|hsts|lesshst|viminfo)$|\.log$` +
	`|^/etc/(hosts|hostname|resolv\.conf|mtab|ld\.so\.cache|machine-id|passwd-?|group-?|shadow-?|gshadow-?|\.pwd\.lock)$`)
