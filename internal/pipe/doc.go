// Package pipe carries bytes between connections: it copies them with shared buffers,
// passes on the end of each direction, and prepares the pipes of the kernel's that a
// process works with.
package pipe
