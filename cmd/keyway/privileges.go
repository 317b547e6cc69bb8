package main

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
)

// privilegeOptions holds docker run's options that restore privileges of a container that keyway
// drops by default.
type privilegeOptions struct {
	capAdd, security []string
	pids             int64
	ipc, network     string
}

func (o *privilegeOptions) declare(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.capAdd, "cap-add", nil, "give the container the capability `CAP`, such as NET_RAW for ping, or ALL; may be repeated")
	f.StringArrayVar(&o.security, "security-opt", nil, "take the `OPTION` no-new-privileges=false, which lets sudo and other setuid programs work")
	f.Int64Var(&o.pids, "pids-limit", 0, "allow at most `N` processes and threads; -1: no limit (default 32768)")
	f.StringVar(&o.ipc, "ipc", "", "use the System V IPC and /dev/shm of `WHOM`: private, shareable, or host for the place's own")
	f.StringVar(&o.network, "network", "", "connect the container to the engine's `NETWORK`: its name, none, or host for the place's own;\nssh enters it with any network, and no port is published")
	cmd.RegisterFlagCompletionFunc("ipc", cobra.FixedCompletions([]string{keyway.IPCPrivate, keyway.IPCShareable, keyway.IPCHost}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("network", cobra.FixedCompletions([]string{keyway.NetworkHost, keyway.NetworkNone}, cobra.ShellCompDirectiveNoFileComp))
}

// add sets the requested privileges in s.
func (o privilegeOptions) add(s *keyway.Spec) error {
	for _, c := range o.capAdd {
		capability, err := keyway.ParseCapability(c)
		if err != nil {
			return err
		}
		s.CapAdd = append(s.CapAdd, capability)
	}
	for _, option := range o.security {
		none, err := parseSecurityOption(option)
		if err != nil {
			return err
		}
		s.NewPrivileges = !none
	}
	s.PidsLimit, s.IPC, s.Network = cmp.Or(o.pids, s.PidsLimit), cmp.Or(o.ipc, s.IPC), cmp.Or(o.network, s.Network)
	return nil
}

// parseSecurityOption parses docker's spellings of the one supported option, and reports whether
// new privileges are to be denied.
func parseSecurityOption(option string) (bool, error) {
	name, value, given := strings.Cut(strings.Replace(option, ":", "=", 1), "=")
	none, err := strconv.ParseBool(value)
	if !given {
		none, err = true, nil
	}
	if name != "no-new-privileges" || err != nil {
		return false, keyway.Errorf(keyway.Usage, "--security-opt %s: only no-new-privileges=true and no-new-privileges=false are possible", option).
			Hint("let sudo work inside: --security-opt no-new-privileges=false")
	}
	return none, nil
}
