package main

import (
	"fmt"
	"os"
	"strings"
)

// parentName is the name of the program that has started this one.
func parentName() string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", os.Getppid()))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(name), "\n")
}
