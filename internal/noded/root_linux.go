package noded

import "golang.org/x/sys/unix"

// isNoexec reports whether the file system of dir forbids executing programs.
func isNoexec(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0
}
