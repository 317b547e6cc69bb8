package laptop

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/sshconfig"
)

// Held are the keys that may be used for any host without a file of them in ~/.ssh: those
// that the user's agent holds, be it keyway's, the one of SSH_AUTH_SOCK or the one that
// the configuration names. where is the socket of the last; empty: it is another.
func (here *Laptop) Held(ctx context.Context) (keys []PublicKey, where string) {
	where, keys, err := here.agentOf(ctx, configured(ctx, keyway.Local))
	if err != nil {
		return nil, ""
	}
	return keys, where
}

// identityAgent is the socket of the agent that the user's configuration names for h
// (IdentityAgent of ssh_config(5)), with its tokens and variables; empty: it names
// none of its own.
func identityAgent(h sshconfig.Host) string {
	value := strings.Trim(h.IdentityAgent, `"`)
	switch {
	case value == "" || value == "none" || value == "SSH_AUTH_SOCK":
		return ""
	case strings.HasPrefix(value, "$") && !strings.HasPrefix(value, "${"):
		return os.Getenv(value[1:])
	}
	home, _ := os.UserHomeDir()
	if rest, ok := strings.CutPrefix(value, "~/"); ok {
		value = filepath.Join(home, rest)
	}
	local, _ := os.Hostname()
	short, _, _ := strings.Cut(local, ".")
	var me user.User
	if u, err := user.Current(); err == nil {
		me = *u
	}
	tokens := strings.NewReplacer("%%", "%", "%d", home, "%h", h.HostName, "%i", me.Uid, "%k", h.HostKeyAlias,
		"%L", short, "%l", local, "%n", h.Name, "%p", h.Port, "%r", h.User, "%u", me.Username)
	var b strings.Builder
	for value != "" { // only ${…} is a variable here
		before, after, found := strings.Cut(value, "${")
		b.WriteString(tokens.Replace(before))
		name, rest, closed := strings.Cut(after, "}")
		if !found || !closed {
			break
		}
		b.WriteString(os.Getenv(name))
		value = rest
	}
	return b.String()
}
