//go:build unix

package main

import "syscall"

// keepOwnFiles changes the umask so that the owner can use the files which this process and its
// children make. A link is started by whichever command comes first and serves all later ones, so
// it must not depend on that command's umask.
func keepOwnFiles() { syscall.Umask(syscall.Umask(0o077) &^ 0o700) }
