package link

import "golang.org/x/sys/unix"

// dup2 makes to a duplicate of from. (Not every architecture of Linux has dup2.)
func dup2(from, to int) error { return unix.Dup3(from, to, 0) }
