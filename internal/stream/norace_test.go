//go:build !race

package stream

// idleBound is what each end of an idle stream may hold, in bytes.
const idleBound = 24 << 10
