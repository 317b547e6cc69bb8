package laptop

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"keyway/internal/bounded"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/policy"
	"keyway/internal/unixsock"
)

// agentPath returns the one path of the agent. It is the socket of an agent that unlock or the
// system has started for keyway, or a symbolic link to the socket of the user's agent. ssh_config
// names it, so that programs of a desktop, which have no SSH_AUTH_SOCK, reach the agent, too.
func (here *Laptop) agentPath() string { return filepath.Join(here.runtime, dirs.AgentSocket) }

// isSocket reports whether a socket is at path itself: an agent of ours, not a link to
// another.
func isSocket(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&os.ModeSocket != 0
}

// forwardPath returns the socket of keyway's agent for requests through a forwarding.
func (here *Laptop) forwardPath() string { return filepath.Join(here.runtime, dirs.ForwardSocket) }

// forwardSocket returns the socket to forward: the second one of keyway's agent. Another agent, to
// which agent.sock is only a link, has none.
func (here *Laptop) forwardSocket() string {
	if !isSocket(here.agentPath()) {
		return ""
	}
	if _, err := os.Stat(here.forwardPath()); err != nil {
		return ""
	}
	return here.forwardPath()
}

// AgentSocket returns the one path of the agent if an agent is there; otherwise ssh's own rules
// apply.
func (here *Laptop) AgentSocket() string {
	path := here.agentPath()
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// EnsureAgent sees to it that an agent listens at the one path: with own set, one
// of ours. started is the socket of one that it has started; empty: none.
func (here *Laptop) EnsureAgent(ctx context.Context, own bool) (started string, err error) {
	path := here.agentPath()
	if theirs := os.Getenv("SSH_AUTH_SOCK"); theirs != "" && theirs != path && !own && agentAnswers(ctx, theirs) {
		if now, err := os.Readlink(path); err == nil && now == theirs {
			return "", nil
		}
		if !isSocket(path) || listKeys(ctx, path) != nil { // an agent of ours that holds keys must not be lost
			return "", relink(theirs, path)
		}
	}
	if (isSocket(path) || !own) && agentAnswers(ctx, path) {
		return "", nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	cmd := exec.CommandContext(ctx, here.Program, "agent", "-s", "-O", "runtime")
	said := bounded.Buffer{Max: maxSaid}
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return "", keyway.Errorf(keyway.NoKey, "the agent cannot be started: %w: %s", err, strings.TrimSpace(said.String())).
			Advise(keyway.DebugAgent)
	}
	here.useAgent()
	return path, nil
}

// WantsOwnAgent reports whether the policy has what no other agent does: keys of
// another agent beside its own, or triggers on which they are forgotten.
func WantsOwnAgent() bool {
	path, err := dirs.Policy()
	if err != nil {
		return false
	}
	p, err := policy.Read(path)
	return err == nil && (p.Upstream() != "" || p.Forget() != policy.Forget{})
}

// followAgent mends the one path when the agent behind it has ended and theirs,
// which SSH_AUTH_SOCK names, lives: after a new login, agents have new sockets.
// ssh starts its ProxyCommand before it opens IdentityAgent, so a keyway proxy
// that does this is in time for the connection it carries.
func followAgent(path, theirs string) {
	if _, err := os.Lstat(path); err != nil || theirs == "" || theirs == path || listens(path) || !listens(theirs) {
		return
	}
	relink(theirs, path) // when two do this at once, either is right
}

// listens reports whether a process accepts connections at socket.
func listens(socket string) bool {
	conn, err := unixsock.Dial(socket)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// relink makes path a symbolic link to target, without a moment without one.
func relink(target, path string) error {
	tmp := path + ".new"
	os.Remove(tmp)
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// agentAnswers reports whether an agent listens at socket: ssh-add exits with 2 if
// none does, and with 1 if it holds no key.
func agentAnswers(ctx context.Context, socket string) bool {
	err := listKeys(ctx, socket)
	var exit *exec.ExitError
	return err == nil || errors.As(err, &exit) && exit.ExitCode() == 1
}

// listKeys fails where the agent at socket holds no key, or there is none.
func listKeys(ctx context.Context, socket string) error {
	cmd := exec.CommandContext(ctx, "ssh-add", "-l")
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	return cmd.Run()
}
