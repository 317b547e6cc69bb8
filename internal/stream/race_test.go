//go:build race

package stream

// idleBound is what each end of an idle stream may hold, in bytes. The race detector's
// stacks are twice as large.
const idleBound = 32 << 10
