//go:build unix && !linux

package main

import "os"

// isOpenSSH takes every client for ssh: the systems' ways to tell a socket's maker
// differ. A client that has said nothing by now gets a descriptor.
func isOpenSSH(*os.File) bool { return true }
