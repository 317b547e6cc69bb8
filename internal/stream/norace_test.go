//go:build !race

package stream

// idleBound is the memory that each end of an idle stream may use, in bytes.
const idleBound = 24 << 10
