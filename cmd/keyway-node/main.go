// Command keyway-node is the node. The link sends it to a place and runs it there by ssh, and runs
// it for the local place. It drives the place's engines and relays bytes to guests. It contains no
// agent, no link and no command line for people. Begin with noded.Run.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"keyway/internal/keyway"
	"keyway/internal/noded"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := noded.Run(ctx, os.Args[1:], "")
	if err != nil {
		fmt.Fprintln(os.Stderr, "keyway-node:", keyway.AsError(err).Message)
	}
	return keyway.ExitCode(err)
}
