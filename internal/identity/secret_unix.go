//go:build unix

package identity

import (
	"os"

	"golang.org/x/sys/unix"
)

// allocate gives memory of its own pages. Locking it may fail, as the limit on
// locked memory can be low (setrlimit(2), RLIMIT_MEMLOCK); a key that cannot be
// locked is still better than no key, and the swap is the administrator's.
func allocate(size int) ([]byte, error) {
	page := os.Getpagesize()
	memory, err := unix.Mmap(-1, 0, (size+page)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	_ = unix.Mlock(memory)
	keepOutOfDumps(memory)
	return memory, nil
}

func release(memory []byte) {
	_ = unix.Munlock(memory)
	_ = unix.Munmap(memory)
}
