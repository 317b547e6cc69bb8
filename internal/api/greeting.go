package api

import (
	"fmt"

	"keyway/internal/keyway"
)

// Greeting is the line that a node writes before it speaks HTTP/2: its protocol
// version and its program's version.
func Greeting() string {
	return fmt.Sprintf("keyway-node %d %s\n", Version, keyway.Version)
}
