package main

import (
	"os"

	"keyway/internal/proctree"
)

// parentName returns the name of the parent process.
func parentName() string {
	return proctree.Name(os.Getppid())
}

// parentErrors returns the standard error of the parent if it is a terminal or a pipe, which can be
// opened again; otherwise nil.
func parentErrors() *os.File {
	return proctree.Errors(os.Getppid())
}
