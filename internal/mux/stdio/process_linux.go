package stdio

import (
	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
)

// mayRead reports whether a process may read now from a terminal that it has open as fd: from its
// controlling terminal only in the foreground. The kernel would otherwise stop the process, but not
// the mux, which reads in its place and is not in its process group.
func mayRead(pid, fd int) bool {
	p, err := proctree.Read(pid)
	if err != nil {
		return false // it has ended
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return false
	}
	minor := uint32(p.Terminal)&0xff | uint32(p.Terminal)>>12&0xfff00
	own := unix.Mkdev(uint32(p.Terminal)>>8&0xfff, minor)
	if st.Rdev != own && st.Rdev != unix.Mkdev(5, 0) { // 5, 0: /dev/tty
		return true
	}
	return p.Group == p.Foreground
}
