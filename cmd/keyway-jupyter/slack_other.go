//go:build unix && !linux

package main

import "os/exec"

func startSlack(cmd *exec.Cmd) error { return cmd.Start() }
