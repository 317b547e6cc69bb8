//go:build !linux

package engine

// HardLimits returns nil: this system does not report them.
func HardLimits() map[string]int64 { return nil }
