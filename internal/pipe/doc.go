// Package pipe carries bytes between connections: it copies them with shared buffers, passes on the
// end of each direction, and prepares the pipes of the kernel that a process uses. It does not
// interpret the bytes. Begin with Stdio and Pair.
package pipe
