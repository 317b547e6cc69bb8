//go:build race

package guest

// memoryFactor is the factor by which the race detector's build may take more memory.
const memoryFactor = 3
