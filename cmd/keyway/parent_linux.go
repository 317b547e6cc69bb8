package main

import (
	"os"

	"keyway/internal/proctree"
)

// parentName is the name of the program that has started this one.
func parentName() string {
	return proctree.Name(os.Getppid())
}
