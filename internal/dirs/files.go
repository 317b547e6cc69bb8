package dirs

import "path/filepath"

// The names of the sockets in the runtime directory.
const (
	AgentSocket   = "agent.sock"   // for programs of this machine
	ForwardSocket = "forward.sock" // for those at the far end of a forwarding
)

// Policy returns the file with the agent's rules.
func Policy() (string, error) { return file(Config, "policy.yaml") }

// Settings returns the file with the user's settings for all commands.
func Settings() (string, error) { return file(Config, "config.yaml") }

// AuditLog returns the file of the agent's audit log.
func AuditLog() (string, error) { return file(State, "audit.jsonl") }

// LinkLog returns the link's log file.
func LinkLog() (string, error) { return file(State, "link.log") }

// Mux leads to the sockets of the mux, and to nothing while there is none.
func Mux() (string, error) { return file(Runtime, "mux") }

// MuxLog returns the mux's log file.
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
