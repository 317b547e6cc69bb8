//go:build linux

package guest

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"keyway/internal/keyway"
)

// maxMountInfo bounds the bytes that are read of the kernel's table of mounts.
const maxMountInfo = 16 << 20

// sweepMain empties home. The node runs it as root in a temporary container when a
// workspace left files of users that the node may not remove.
func sweepMain(home keyway.Home, _ []string) int {
	mounts, err := mountPoints()
	if err == nil {
		err = sweep(string(home), mounts)
		_ = os.Remove(string(home)) // fails if it is mounted or contains a mount
	}
	if err != nil {
		return fail(os.Stderr, err)
	}
	return 0
}

// sweep removes the contents of dir, but neither dir nor anything mounted in it: a mount
// belongs to another owner.
func sweep(dir string, mounts []string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		switch {
		case holdsMount(path, mounts) && isMount(path, mounts):
		case holdsMount(path, mounts):
			errs = append(errs, sweep(path, mounts))
		default:
			errs = append(errs, os.RemoveAll(path))
		}
	}
	return errors.Join(errs...)
}

func isMount(path string, mounts []string) bool {
	for _, m := range mounts {
		if m == path {
			return true
		}
	}
	return false
}

// holdsMount reports whether path or something below it is mounted.
func holdsMount(path string, mounts []string) bool {
	for _, m := range mounts {
		if m == path || strings.HasPrefix(m, path+"/") {
			return true
		}
	}
	return false
}

func mountPoints() ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	table, err := io.ReadAll(io.LimitReader(f, maxMountInfo+1))
	if err != nil {
		return nil, err
	}
	if len(table) > maxMountInfo {
		return nil, errors.New("the table of mounts is too long to be sure of what is mounted")
	}
	return parseMountInfo(string(table)), nil
}

// parseMountInfo returns the mount points, the fifth field of each line
// (proc(5)).
func parseMountInfo(table string) []string {
	var points []string
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > 4 {
			points = append(points, unescapeOctal(fields[4]))
		}
	}
	return points
}

// unescapeOctal decodes the kernel's \ooo for blanks and backslashes.
func unescapeOctal(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
