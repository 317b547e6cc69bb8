package api

import "runtime"

// RelayOnOneCPU limits a process that relays bytes to one CPU, which relays more than the one ssh
// beside it can encrypt. On several CPUs, goroutines that wake each other spend more time on waking
// than on work: a third of the CPU time of a transfer.
func RelayOnOneCPU() { runtime.GOMAXPROCS(1) }
