package api

import "runtime"

// RelayOnOneCPU is for processes that carry bytes: one CPU carries more than the
// one ssh beside them can encrypt. A chain of goroutines that wake each other
// costs, when each may run elsewhere, more in waking than in working: a third of
// the CPU time of a transfer was that.
func RelayOnOneCPU() { runtime.GOMAXPROCS(1) }
