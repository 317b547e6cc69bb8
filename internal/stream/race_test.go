//go:build race

package stream

// idleBound is the memory that each end of an idle stream may use, in bytes. The race detector's
// stacks are twice as large.
const idleBound = 32 << 10
