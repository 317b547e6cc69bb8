//go:build !race

package guest

const memoryFactor = 1
