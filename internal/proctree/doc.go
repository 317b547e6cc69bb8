// Package proctree reads the kernel's facts about processes from /proc, and decides the order in
// which the processes of a tree are sent SIGTERM. Begin with All, and with Ending for the order.
package proctree
