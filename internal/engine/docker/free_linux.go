package docker

import "golang.org/x/sys/unix"

// free returns the bytes that a user may still write below dir; 0 if unknown.
func free(dir string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize
}
