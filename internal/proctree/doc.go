// Package proctree reads what the kernel tells of processes, and decides which of a tree
// of them to tell next that it is to end.
package proctree
