// Package proctree reads the kernel's facts about processes, and decides in which order a tree of
// them is told to end.
package proctree
