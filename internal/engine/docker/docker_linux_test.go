package docker_test

import (
	"testing"

	"keyway/internal/engine/docker"
	"keyway/internal/engine/enginetest"
)

func TestContract(t *testing.T) {
	enginetest.Run(t, onDaemon(t, localDocker).world(t).Subject)
}

// TestContractByExec checks the contract with a daemon that does not see this machine's files.
func TestContractByExec(t *testing.T) {
	s := onDaemon(t, localDocker).world(t, docker.ByExec()).Subject
	enginetest.Run(t, s)
}
