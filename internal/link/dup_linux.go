package link

import "golang.org/x/sys/unix"

// dup2 makes to another descriptor of what from is. (There is no dup2 on every
// architecture of Linux.)
func dup2(from, to int) error { return unix.Dup3(from, to, 0) }

// sshPipeSize is how much a pipe of an ssh may hold, in bytes, about what a socket does.
// All pipes of a user together may hold 64 MiB (pipe(7)), and then new ones hold less
// than usual, those of other programs too: this leaves room for a hundred connections.
const sshPipeSize = 256 << 10

// widen enlarges the buffer of a pipe, if the kernel lets it.
func widen(fd int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, sshPipeSize) }
