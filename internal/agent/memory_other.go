//go:build !linux

package agent

// TrimProcess has nothing to do here.
func TrimProcess() {}
