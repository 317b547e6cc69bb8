//go:build unix && !linux && !darwin

package main

// parentName returns nothing: this system does not tell. Every client gets its bytes from
// this process.
func parentName() string { return "" }
