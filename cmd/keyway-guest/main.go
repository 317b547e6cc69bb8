// Command keyway-guest is the program inside a workspace: its first process, its SSH server and its
// sessions. Package guest describes its subcommands.
package main

import (
	"os"

	"keyway/internal/guest"
)

func main() { os.Exit(guest.Main(os.Args)) }
