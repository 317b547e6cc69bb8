//go:build unix

package main

import "syscall"

// keepOwnFiles has this process, and those that it starts, make files that their owner
// can use, whatever the umask of the shell: a link is started by the command that comes
// first, and serves those that come later.
func keepOwnFiles() { syscall.Umask(syscall.Umask(0o077) &^ 0o700) }
