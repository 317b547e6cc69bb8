// Package proctree reads the kernel's table of processes and decides whom to tell
// next when a tree of them is to end.
package proctree
