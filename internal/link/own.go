package link

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"sync"
)

// noForwards keeps the ports that the user's configuration forwards from colliding. It clears
// those of the command line, too.
var noForwards = []string{"-o", "ClearAllForwardings=yes"}

// ownOptions free a connection that keyway itself makes of the settings in the user's
// configuration for the user's sessions on the same host: a command in place of keyway's,
// and a local command, whose output would be read as an answer.
var ownOptions = []string{"-o", "Tunnel=no", "-o", "RemoteCommand=none", "-o", "PermitLocalCommand=no"}

// sessionOptions are those that OpenSSH knows from 8.7 on: no session, no standard input
// and an ssh that goes to the background would each end a command with exit status 0, its
// output lost. An ssh that does not know them has no configuration that does.
var sessionOptions = []string{"-o", "SessionType=default", "-o", "StdinNull=no", "-o", "ForkAfterAuthentication=no"}

// OwnOptions are the options of every ssh that keyway starts for a connection of its own,
// as far as the program at that path knows them. An option before them prevails.
func OwnOptions(ctx context.Context, ssh string) []string {
	return slices.Concat(noForwards, forwardingOptions(ctx, ssh))
}

// forwardingOptions are the OwnOptions of an ssh that forwards a port itself.
func forwardingOptions(ctx context.Context, ssh string) []string {
	return slices.Concat(ownOptions, knownOptions(ctx, ssh, sessionOptions))
}

// probes remembers, by the program and the options, whether an ssh knows them.
var probes sync.Map

type probe struct{ ssh, option string }

// knownOptions are the options, or none if that ssh does not know the first.
func knownOptions(ctx context.Context, ssh string, options []string) []string {
	key := probe{Identity(ssh), options[1]}
	known, ok := probes.Load(key)
	if !ok {
		asked := exec.CommandContext(ctx, ssh, slices.Concat([]string{"-F", "none", "-G"}, options, []string{"--", "localhost"})...)
		err := asked.Run()
		known = err == nil
		// A probe that did not start or was killed is repeated: the cause, such as a lack of
		// memory, may pass.
		if exit := (*exec.ExitError)(nil); err == nil || ctx.Err() == nil && errors.As(err, &exit) && exit.Exited() {
			probes.Store(key, known)
		}
	}
	if !known.(bool) {
		return nil
	}
	return options
}
