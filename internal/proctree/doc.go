// Package proctree reads the kernel's facts about processes, and decides the order in which the
// processes of a tree are told to end.
package proctree
