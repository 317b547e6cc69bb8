//go:build !linux

package api

import "os"

// Widen does nothing where pipes have one size.
func Widen(...*os.File) {}
