package docker

import "golang.org/x/sys/unix"

// free is how many bytes a user may still write below dir; 0: not known.
func free(dir string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize
}
