//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

const batch = "batch\n"

// train simulates a training run whose state is in file, and that saves to the file on SIGTERM.
// Saving takes some more steps, and each needs a batch of the loader. It fails on a second
// signal, and dies of SIGHUP.
func train(file string) error {
	told := make(chan os.Signal, 2)
	signal.Notify(told, syscall.SIGTERM)
	loader := exec.Command("/proc/self/exe", "load")
	ask, err := loader.StdinPipe()
	if err != nil {
		return err
	}
	batches, err := loader.StdoutPipe()
	if err != nil {
		return err
	}
	if err := loader.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte("training"), 0o600); err != nil {
		return err
	}
	<-told
	for range 20 {
		_, _ = io.WriteString(ask, "?")
		if _, err := io.ReadFull(batches, make([]byte, len(batch))); err != nil {
			return fmt.Errorf("the loader is gone: %w", err)
		}
		time.Sleep(10 * time.Millisecond) // time of a step
	}
	select {
	case <-told:
		return fmt.Errorf("told twice")
	default:
		return os.WriteFile(file, []byte("saved"), 0o600)
	}
}

// load serves batches.
func load() error {
	for {
		if _, err := io.ReadFull(os.Stdin, make([]byte, 1)); err != nil {
			return nil //nolint:nilerr // the run has ended
		}
		if _, err := io.WriteString(os.Stdout, batch); err != nil {
			return err
		}
	}
}
