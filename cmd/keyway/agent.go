package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/agent"
	"keyway/internal/agentd"
	"keyway/internal/dirs"
	"keyway/internal/hostnames"
	"keyway/internal/keyway"
	"keyway/internal/policy"
)

// asSSHAgent is the name under which the program behaves as ssh-agent, with that program's
// options. A link of this name makes keyway the system's agent.
const asSSHAgent = "ssh-agent"

// standInForSSHAgent returns the arguments of keyway agent for a program that was started as
// ssh-agent.
func standInForSSHAgent(argv []string) ([]string, bool) {
	if len(argv) == 0 || !strings.HasPrefix(filepath.Base(argv[0]), asSSHAgent) {
		return nil, false
	}
	return append([]string{"agent"}, argv[1:]...), true
}

func newAgentCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "agent [OPTIONS] [COMMAND…]",
		Short: "Run an SSH agent that knows where every signature goes",
		Long: `Hold keys and sign with them as ssh-agent does, with the same options, output and
exit codes. A link to this program that is named ssh-agent can replace ssh-agent. The
policy (keyway policy) decides about each signature, and the log (keyway log) records it.
Without COMMAND the agent runs in the background and prints the commands by which a
shell finds it. With COMMAND it runs until COMMAND ends.

  -s, -c            print commands for sh, or for csh
  -a PATH           listen at PATH
  -t LIFE           how long keys live that are added without -t: 12h
  -P PATTERNS       PKCS#11 and security key libraries to allow
  -D                stay in the foreground
  -d                stay in the foreground and log to standard error
  -k                stop the agent that SSH_AGENT_PID names
  -E HASH           accepted for compatibility; fingerprints are SHA256
  -O policy=WHAT    openssh, standard, or the path of a policy file
  -O forward=PATH   listen at PATH too; requests there count as remote
  -O runtime        listen where keyway's commands look: agent.sock and
                    forward.sock in the runtime directory
  -O audit=PATH     where the log is kept
  -O upstream=PATH  use the keys of the agent at PATH too, under
                    the same policy and log

Each of -O may be written as a long option, such as --upstream PATH.

On SIGUSR1 the agent forgets every key. On SIGUSR2, on Linux, it executes the program
that is now at its path, and keeps its keys, answers and connections: send it after an
upgrade. Unless -O renew=any is given, it does so only if nobody but root can replace that
program.`,
		Example:            "  eval \"$(keyway agent -s)\"\n  keyway agent -D -a ~/.ssh/agent.sock\n  keyway agent bash",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
				return cmd.Help()
			}
			o, err := parseAgentOptions(args)
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

// agentOptions holds ssh-agent's options, and those of keyway's own that follow -O.
type agentOptions struct {
	csh, sh, foreground, debug, kill bool

	socket    string
	life      time.Duration
	providers []string
	policy    string // openssh, standard or a path; empty: policy.yaml
	forward   string
	audit     string
	upstream  string
	renewAny  bool
	command   []string

	// For a background agent, which inherits its sockets as descriptors from 3 on: parent is the
	// process with which it ends (0: none).
	serve  bool
	parent int
}

// parseAgentOptions parses options as getopt(3) does: letters may be joined, and a value may
// follow its letter with or without a blank.
func parseAgentOptions(args []string) (*agentOptions, error) {
	o := &agentOptions{providers: agent.DefaultProviders}
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		letters := args[0][1:]
		args = args[1:]
		if letters == "-" {
			break
		}
		if letters[0] == '-' {
			option := letters[1:]
			if !strings.Contains(option, "=") && len(args) > 0 {
				option, args = option+"="+args[0], args[1:]
			}
			if err := o.extra(option); err != nil {
				return nil, err
			}
			continue
		}
		for letters != "" {
			letter := letters[0]
			letters = letters[1:]
			if strings.IndexByte("aEOPt", letter) < 0 {
				if err := o.flag(letter); err != nil {
					return nil, err
				}
				continue
			}
			value := letters
			if letters = ""; value == "" {
				if len(args) == 0 {
					return nil, agentUsage("-%c needs a value", letter)
				}
				value, args = args[0], args[1:]
			}
			if err := o.value(letter, value); err != nil {
				return nil, err
			}
		}
	}
	o.command = args
	if len(args) > 0 && (o.csh || o.sh || o.foreground || o.debug || o.kill) {
		return nil, agentUsage("a command goes with none of -c, -s, -k, -D and -d")
	}
	return o, nil
}

// agentUsage returns a usage error with exit status 1, which ssh-agent uses.
func agentUsage(format string, args ...any) error {
	fmt.Fprintf(os.Stderr, "keyway agent: "+format+"\n  → see the options: keyway agent --help\n", args...)
	return exitStatus(1)
}

func (o *agentOptions) flag(letter byte) error {
	switch letter {
	case 'c':
		o.csh = true
	case 's':
		o.sh = true
	case 'D':
		o.foreground = true
	case 'd':
		o.debug, o.foreground = true, true
	case 'k':
		o.kill = true
	case 'T', 'U': // options of newer ssh-agents about sockets below ~/.ssh, which keyway does not touch
	default:
		return agentUsage("there is no option -%c", letter)
	}
	if o.csh && o.sh {
		return agentUsage("-c and -s exclude each other")
	}
	return nil
}

func (o *agentOptions) value(letter byte, value string) error {
	var err error
	switch letter {
	case 'a':
		o.socket = value
	case 'E':
		if value != "sha256" && value != "md5" {
			return agentUsage("there is no fingerprint hash %q", value)
		}
	case 'P':
		o.providers = strings.Split(value, ",")
	case 't':
		if o.life, err = policy.ParseDuration(value); err != nil {
			return agentUsage("%v", err)
		}
	case 'O':
		return o.extra(value)
	}
	return nil
}

func (o *agentOptions) extra(option string) error {
	name, value, _ := strings.Cut(option, "=")
	var err error
	switch {
	case name == "policy" && value != "":
		o.policy = value
	case name == "forward" && value != "":
		o.forward = value
	case name == "audit" && value != "":
		o.audit = value
	case option == "renew=any":
		o.renewAny = true
	case option == "runtime":
		o.socket, o.forward, err = dirs.AgentSockets()
	case name == "upstream" && value != "":
		o.upstream, err = filepath.Abs(value)
	case name == "serve":
		o.serve = true
		o.parent, err = strconv.Atoi(value)
	case option == "allow-remote-pkcs11":
		return agentUsage("a remote asker never loads a library here")
	case option == "no-restrict-websafe", strings.HasPrefix(option, "websafe-allow="):
		return agentUsage("a web site's security key never signs anything but SSH's formats here")
	default:
		return agentUsage("there is no option -O %s", option)
	}
	return err
}

func (o *agentOptions) run(ctx context.Context, stdout, stderr io.Writer) error {
	if shell := os.Getenv("SHELL"); !o.csh && !o.sh && strings.HasSuffix(shell, "csh") {
		o.csh = true
	}
	if o.kill {
		return o.killAgent(stdout)
	}
	options := o.options(stdout, stderr)
	if o.serve || o.foreground || agentd.Renewed() {
		return agentd.Run(ctx, options)
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	socket, child, err := agentd.Start(options, func(socket, forward string) *exec.Cmd {
		return o.background(program, socket, forward)
	})
	if err != nil {
		return err
	}
	if len(o.command) > 0 {
		return o.becomeCommand(socket, child.Pid)
	}
	o.announce(stdout, socket, child.Pid)
	return child.Release()
}

// options returns the options of the process that serves.
func (o *agentOptions) options(stdout, stderr io.Writer) agentd.Options {
	options := agentd.Options{
		Socket: o.socket, Forward: o.forward, Inherited: o.serve,
		Policy: o.policy, Audit: o.audit, Upstream: o.upstream, Providers: o.providers, Lifetime: o.life,
		Parent: o.parent, RenewAny: o.renewAny, Hosts: hostnames.Lookup, News: stderr, Debug: o.debug,
	}
	if o.serve {
		options.News = io.Discard
	}
	if o.foreground {
		options.Terminal = openTerminal
		options.Ready = func(socket string) { o.announce(stdout, socket, os.Getpid()) }
	}
	return options
}

// announce prints how to find the agent, in the form that scripts evaluate.
func (o *agentOptions) announce(w io.Writer, socket string, pid int) {
	format := "%s=%s; export %[1]s;\n"
	if o.csh {
		format = "setenv %s %s;\n"
	}
	fmt.Fprintf(w, format, "SSH_AUTH_SOCK", socket)
	if !o.foreground {
		fmt.Fprintf(w, format, "SSH_AGENT_PID", strconv.Itoa(pid))
	}
	fmt.Fprintf(w, "echo Agent pid %d;\n", pid)
}

func (o *agentOptions) killAgent(stdout io.Writer) error {
	text := os.Getenv("SSH_AGENT_PID")
	pid, err := strconv.Atoi(text)
	switch {
	case text == "":
		return agentUsage("SSH_AGENT_PID is not set, so there is no agent to end")
	case err != nil || pid < 1:
		return agentUsage("SSH_AGENT_PID is %q, which is not a process", text)
	}
	process, err := os.FindProcess(pid)
	if err == nil {
		err = process.Signal(syscall.SIGTERM)
	}
	if err != nil {
		return agentUsage("the agent %d cannot be ended: %v", pid, err)
	}
	format := "unset %s;\n"
	if o.csh {
		format = "unsetenv %s;\n"
	}
	fmt.Fprintf(stdout, format, "SSH_AUTH_SOCK")
	fmt.Fprintf(stdout, format, "SSH_AGENT_PID")
	fmt.Fprintf(stdout, "echo Agent pid %d killed;\n", pid)
	return nil
}

// background returns the command that starts the process which serves the sockets.
func (o *agentOptions) background(program, socket, forward string) *exec.Cmd {
	parent := 0
	if len(o.command) > 0 {
		parent = os.Getpid()
	}
	args := []string{"agent", "-O", "serve=" + strconv.Itoa(parent), "-a", socket, "-P", strings.Join(o.providers, ",")}
	for _, file := range []struct{ name, value string }{{"policy", o.policy}, {"forward", forward}, {"audit", o.audit}, {"upstream", o.upstream}} {
		if file.value != "" {
			args = append(args, "-O", file.name+"="+file.value)
		}
	}
	if o.renewAny {
		args = append(args, "-O", "renew=any")
	}
	if o.life > 0 {
		args = append(args, "-t", strconv.Itoa(int(o.life/time.Second)))
	}
	cmd := exec.Command(program, args...)
	cmd.Args[0] = "keyway"
	return cmd
}

// becomeCommand replaces this process by the user's command. The agent is then its child, and
// ends with it.
func (o *agentOptions) becomeCommand(socket string, pid int) error {
	path, err := exec.LookPath(o.command[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		endProcess(pid)
		return agentUsage("%v", err)
	}
	env := append(os.Environ(), "SSH_AUTH_SOCK="+socket, "SSH_AGENT_PID="+strconv.Itoa(pid))
	err = become(path, o.command, lastWins(env))
	endProcess(pid)
	return keyway.Errorf(keyway.Other, "%s cannot be run: %w", o.command[0], err)
}

func endProcess(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Signal(syscall.SIGTERM)
	}
}

// lastWins returns env with only the last value of each variable, because not every program uses
// the last one.
func lastWins(env []string) []string {
	at := map[string]int{}
	var list []string
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if i, ok := at[name]; ok {
			list[i] = kv
			continue
		}
		at[name] = len(list)
		list = append(list, kv)
	}
	return list
}
