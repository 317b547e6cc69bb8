package dirs

import "path/filepath"

// The names of the sockets in the runtime directory.
const (
	AgentSocket   = "agent.sock"   // for programs of this machine
	ForwardSocket = "forward.sock" // for those at the far end of a forwarding
)

// Policy is the file that the agent decides by.
func Policy() (string, error) { return file(Config, "policy.yaml") }

// Settings is the file of what the user chooses for all commands.
func Settings() (string, error) { return file(Config, "config.yaml") }

// AuditLog is the file of what the agent has done.
func AuditLog() (string, error) { return file(State, "audit.jsonl") }

// LinkLog is the file of what the link has met.
func LinkLog() (string, error) { return file(State, "link.log") }

// Mux leads to the sockets of the mux, and to nothing while there is none.
func Mux() (string, error) { return file(Runtime, "mux") }

// MuxLog is the file of what the mux has met.
func MuxLog() (string, error) { return file(State, "mux.log") }

// AgentSockets returns the sockets of keyway's own agent: for programs of this machine, and for
// those at the far end of a forwarding.
func AgentSockets() (local, forward string, err error) {
	dir, err := Runtime()
	return filepath.Join(dir, AgentSocket), filepath.Join(dir, ForwardSocket), err
}

func file(dir func() (string, error), name string) (string, error) {
	path, err := dir()
	if err != nil {
		return "", err
	}
	return filepath.Join(path, name), nil
}
