package laptop

import (
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"time"

	"keyway/internal/bounded"
	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
)

const (
	// maxPortList bounds the bytes of a workspace's list of ports, and maxPorts the number of
	// ports.
	maxPortList = 1 << 20
	maxPorts    = 1024
	// insideTimeout bounds the time of a workspace's answer.
	insideTimeout = time.Minute
)

// Ports asks a workspace where its programs listen.
func (here *Laptop) Ports(ctx context.Context, e sshconfig.Entry) ([]keyway.Port, error) {
	list, err := here.answer(ctx, e, maxPortList, func(ctx context.Context) (*exec.Cmd, error) {
		return here.InsideCommand(ctx, e.Name, outspoken, "ports", "--json")
	})
	if err != nil {
		return nil, err
	}
	return readPorts(list)
}

// readPorts reads a list of ports. An impossible entry is left out, and the names of
// processes are cleaned.
func readPorts(list []byte) ([]keyway.Port, error) {
	var ports []keyway.Port
	if err := json.Unmarshal(list, &ports); err != nil {
		return nil, keyway.Errorf(keyway.VersionMismatch, "the workspace's list of ports cannot be read: %w", err)
	}
	ports = slices.DeleteFunc(ports, func(p keyway.Port) bool { return p.Port < 1 || p.Port > 65535 })
	ports = ports[:min(len(ports), maxPorts)]
	for i := range ports {
		p := &ports[i]
		p.Address, p.Program = plain.Line(p.Address), plain.Line(p.Program)
		if _, err := keyway.ParseName(p.Session); err != nil {
			p.Session = ""
		}
	}
	slices.SortStableFunc(ports, func(a, b keyway.Port) int { return a.Port - b.Port })
	return ports, nil
}

// OfferedPorts returns the ports that the workspace's template names; none where the place
// does not say.
func (here *Laptop) OfferedPorts(ctx context.Context, e sshconfig.Entry) (ports []int) {
	ctx, cancel := context.WithTimeout(ctx, notRunningTimeout)
	defer cancel()
	node, err := here.Node(ctx, e.Place)
	if err != nil {
		return nil
	}
	list, err := node.List(ctx)
	if err != nil {
		return nil
	}
	for _, w := range list.Workspaces {
		if w.Name == e.Name {
			ports = slices.DeleteFunc(slices.Clone(w.Ports), func(p int) bool { return p < 1 || p > 65535 })
		}
	}
	return ports[:min(len(ports), maxPorts)]
}

// Output runs a program in a workspace and returns its output, up to that many bytes.
func (here *Laptop) Output(ctx context.Context, e sshconfig.Entry, most int, argv ...string) ([]byte, error) {
	quoted := make([]string, len(argv))
	for i, a := range argv {
		quoted[i] = shellQuote(a)
	}
	return here.answer(ctx, e, most, func(ctx context.Context) (*exec.Cmd, error) {
		return here.SSHCommand(ctx, e.Name, outspoken, strings.Join(quoted, " "))
	})
}

// outspoken makes ssh report all reasons for which it does not connect, for example that there is no
// algorithm in common.
var outspoken = []string{"-o", "LogLevel=INFO"}

// answer runs an ssh to the workspace, and makes an error of its and the workspace's messages.
func (here *Laptop) answer(ctx context.Context, e sshconfig.Entry, most int, ssh func(context.Context) (*exec.Cmd, error)) ([]byte, error) {
	return here.answerWithin(ctx, e, insideTimeout, most, ssh)
}

// answerWithin is answer with a time of its own.
func (here *Laptop) answerWithin(ctx context.Context, e sshconfig.Entry, limit time.Duration, most int, ssh func(context.Context) (*exec.Cmd, error)) ([]byte, error) {
	asked, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd, err := ssh(asked)
	if err != nil {
		return nil, err
	}
	said := bounded.Buffer{Max: maxSaid}
	cmd.Stderr = &said
	out, err := bounded.Output(cmd, most)
	switch {
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case asked.Err() != nil:
		return nil, keyway.Errorf(keyway.Unreachable, "%s has not answered for %v", e.Name, limit)
	}
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == sshFailed {
		if err := here.NotRunning(ctx, e); err != nil {
			return nil, err
		}
	}
	text := strings.ReplaceAll(said.String(), "UNKNOWN port 65535", string(e.Name)) // the proxy command has no address
	return nil, keyway.Errorf(keyway.Other, "%s says: %s", e.Name, plain.Line(strings.TrimSpace(text)))
}

// sshFailed is ssh's exit status when the connection failed.
const sshFailed = 255

// maxSaid bounds the bytes that are quoted of an ssh's messages.
const maxSaid = 1 << 10

// StartJob starts a job in a workspace, under that name.
func (here *Laptop) StartJob(ctx context.Context, e sshconfig.Entry, name keyway.Name, argv ...string) error {
	words := append([]string{"run", "-d", "-t", "--as", string(name), "--"}, argv...)
	_, err := here.answer(ctx, e, maxSaid, func(ctx context.Context) (*exec.Cmd, error) {
		return here.InsideCommand(ctx, e.Name, outspoken, words...)
	})
	return err
}
