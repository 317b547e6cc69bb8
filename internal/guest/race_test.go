//go:build race

package guest

// memoryFactor is how much more memory the race detector's build may take.
const memoryFactor = 3
