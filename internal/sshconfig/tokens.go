package sshconfig

import (
	"cmp"
	"os"
	"os/user"
	"path/filepath"
	"strings"
)

// Agent returns the socket of the agent that ssh uses for h, if the user's configuration
// names one (IdentityAgent of ssh_config(5)). An empty socket that is named stands for no
// agent; without a named one, ssh uses that of SSH_AUTH_SOCK.
func (h Host) Agent() (socket string, named bool) {
	value := strings.Trim(h.IdentityAgent, `"`)
	switch {
	case value == "" || value == "SSH_AUTH_SOCK":
		return "", false
	case value == "none":
		return "", true
	case strings.HasPrefix(value, "$") && !strings.HasPrefix(value, "${"):
		return os.Getenv(value[1:]), true
	}
	return h.expand(value), true
}

// KeyFiles returns the private key files that the user's configuration names for h, or that
// ssh takes without one.
func (h Host) KeyFiles() (files []string) {
	for _, file := range h.IdentityFiles {
		files = append(files, h.expand(strings.Trim(file, `"`)))
	}
	return files
}

// expand returns the name of a file with its tokens and variables replaced, as ssh does it.
// ssh -G prints some options with them and some without.
func (h Host) expand(value string) string {
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
	tokens := strings.NewReplacer("%%", "%", "%d", home, "%h", h.HostName, "%i", me.Uid, "%j", strings.Join(h.ProxyJump, ","), "%k", cmp.Or(h.HostKeyAlias, h.Name),
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
