//go:build !linux

package engine

// HardLimits is not told on this system.
func HardLimits() map[string]int64 { return nil }
