//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"time"
)

// runTime is a stopwatch inside a host, so that the way into the host is not
// measured. The command's output is read and dropped.
func runTime(args []string) error {
	before, argv, err := afterDashes(args)
	if err != nil || len(before) != 1 {
		return errors.New("time wants: N -- CMD [ARG]…")
	}
	n, err := strconv.Atoi(before[0])
	if err != nil {
		return err
	}
	for range n {
		var stderr bytes.Buffer
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stderr = &stderr
		begin := time.Now()
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
		}
		fmt.Println(time.Since(begin).Nanoseconds())
	}
	return nil
}
