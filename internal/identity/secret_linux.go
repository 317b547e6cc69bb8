package identity

import "golang.org/x/sys/unix"

// keepOutOfDumps also keeps the pages from a forked child (madvise(2)).
func keepOutOfDumps(memory []byte) {
	_ = unix.Madvise(memory, unix.MADV_DONTDUMP)
	_ = unix.Madvise(memory, unix.MADV_DONTFORK)
}
