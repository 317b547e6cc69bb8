//go:build !linux

package api

import "os"

// Widen does nothing where pipes have one size.
func Widen(...*os.File) {}

// Pollable is f: only on Linux are there others.
func Pollable(f *os.File) *os.File { return f }
