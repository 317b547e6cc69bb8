package docker_test

import (
	"testing"

	"keyway/internal/engine/docker"
	"keyway/internal/engine/enginetest"
)

func TestContract(t *testing.T) {
	enginetest.Run(t, onDaemon(t, localDocker).world(t).Subject)
}

// TestContractByExec is the contract where the daemon does not see this
// machine's files.
func TestContractByExec(t *testing.T) {
	s := onDaemon(t, localDocker).world(t, docker.ByExec()).Subject
	enginetest.Run(t, s)
}
