//go:build !linux

package noded

func isNoexec(string) bool { return false }
