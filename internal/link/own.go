package link

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"sync"
)

// noForwards switches off the forwards in the user's configuration, so that ports do not collide.
// It also clears forwards on the command line.
var noForwards = []string{"-o", "ClearAllForwardings=yes"}

// ownOptions keep a connection of keyway's own independent of settings that the user has for
// sessions on the same host: a remote command instead of keyway's, and a local command, whose
// output would be read as an answer.
var ownOptions = []string{"-o", "Tunnel=no", "-o", "RemoteCommand=none", "-o", "PermitLocalCommand=no"}

// sessionOptions need OpenSSH 8.7. Without a session, without standard input, or in the background,
// an ssh would end a command with exit status 0 and lose its output. In an older ssh, the
// configuration cannot set these options.
var sessionOptions = []string{"-o", "SessionType=default", "-o", "StdinNull=no", "-o", "ForkAfterAuthentication=no"}

// unknownToo makes an ssh ignore unknown options, so that a command need not ask ssh first, which
// takes 5 ms. It also affects unknown options of the user's configuration. An IgnoreUnknown there
// would have no effect any more, so the value here matches every option.
var unknownToo = []string{"-o", "IgnoreUnknown=*"}

// OwnOptions returns the options for every ssh that a command starts for a connection of its own. An
// option before them takes precedence.
func OwnOptions() []string {
	return slices.Concat(noForwards, unknownToo, ownOptions, sessionOptions)
}

// forwardingOptions returns options like OwnOptions for an ssh that forwards a port itself. It
// omits options that the program at ssh does not know.
func forwardingOptions(ctx context.Context, ssh string) []string {
	return slices.Concat(ownOptions, knownOptions(ctx, ssh, sessionOptions))
}

// probes remembers whether an ssh knows an option, by program and option.
var probes sync.Map

type probe struct{ ssh, option string }

// knownOptions returns the options, or none if that ssh does not know the first one.
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
