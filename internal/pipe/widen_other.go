//go:build !linux

package pipe

import "os"

// Widen does nothing where pipes have one size.
func Widen(int, ...*os.File) {}

// Pollable returns f: only on Linux can such a pipe be replaced.
func Pollable(f *os.File) *os.File { return f }
