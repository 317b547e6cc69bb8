package main

import (
	"os"

	"keyway/internal/proctree"
)

// parentName returns the name of the parent process.
func parentName() string {
	return proctree.Name(os.Getppid())
}
