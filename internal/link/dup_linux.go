package link

import "golang.org/x/sys/unix"

// dup2 makes to another descriptor of what from is. (There is no dup2 on every
// architecture of Linux.)
func dup2(from, to int) error { return unix.Dup3(from, to, 0) }
