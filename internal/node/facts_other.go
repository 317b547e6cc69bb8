//go:build !linux

package node

// machine is where facts about a machine are found: a place is Linux.
type machine struct{ root string }

func access(string) (readable, writable bool) { return true, true }

func (m machine) memory() int64 { return 0 }

func kernel() string { return "" }
