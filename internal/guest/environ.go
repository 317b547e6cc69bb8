//go:build linux

package guest

import (
	"maps"
	"os"
	"slices"
	"strings"

	"keyway/internal/keyway"
)

// Bounds on the variables that a client may set for one session.
const (
	maxClientEnv      = 256
	maxClientEnvBytes = 128 << 10
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment holds variables by name.
type environment map[string]string

// parseEnviron reads NAME=value strings. Of two with the same name the first counts, as it
// does for getenv(3).
func parseEnviron(list []string) environment {
	e := environment{}
	for _, s := range list {
		name, value, ok := strings.Cut(s, "=")
		if _, twice := e[name]; ok && name != "" && !twice {
			e[name] = value
		}
	}
	return e
}

// list returns e for execve(2), sorted so that runs can be compared.
func (e environment) list() []string {
	list := make([]string, 0, len(e))
	for _, name := range slices.Sorted(maps.Keys(e)) {
		list = append(list, name+"="+e[name])
	}
	return list
}

// workspaceEnvironment returns the variables that every session starts with: those of the
// image and the engine, which only the first process sees, and those of a login.
func workspaceEnvironment(environ []string, home keyway.Home, a Account) environment {
	e := parseEnviron(environ)
	e["USER"] = a.Name
	e["LOGNAME"] = a.Name
	e["HOME"] = a.Home
	e["SSH_AUTH_SOCK"] = home.AgentSocket()
	e[keyway.EnvHome] = string(home)
	// A unix socket has no addresses. Programs look at these variables to learn that they
	// were reached by ssh, and bash to decide whether to read ~/.bashrc.
	e["SSH_CONNECTION"] = "127.0.0.1 0 127.0.0.1 22"
	e["SSH_CLIENT"] = "127.0.0.1 0 22"
	e["PATH"] = pathWith(e["PATH"], home.Bin())
	delete(e, "SHELL")
	if a.Shell != "" {
		e["SHELL"] = a.Shell
	}
	return e
}

// dropGone removes variables that name the runtime directory or the Kerberos tickets of the
// login that made the workspace, once that login has ended. Programs then use their
// defaults.
func (e environment) dropGone() {
	for name, dir := range map[string]string{"XDG_RUNTIME_DIR": "/run/user/", "KRB5CCNAME": "/tmp/krb5cc_"} {
		path := strings.TrimPrefix(e[name], "FILE:")
		if _, err := os.Stat(path); err != nil && strings.HasPrefix(path, dir) {
			delete(e, name)
		}
	}
}

// pathWith puts dir first: on a machine with a keyway of its own, the workspace's must be
// found. The other programs in dir themselves prefer the image's.
func pathWith(path, dir string) string {
	if path == "" {
		path = defaultPath
	}
	rest := slices.DeleteFunc(strings.Split(path, ":"), func(d string) bool { return d == dir })
	return strings.Join(append([]string{dir}, rest...), ":")
}

// clientEnvironment collects the variables that a client sets.
type clientEnvironment struct {
	vars  environment
	bytes int
}

// set stores the variable, unless it is out of bounds or clients may not set it.
func (c *clientEnvironment) set(name, value string) bool {
	if !isClientVariable(name) || strings.ContainsRune(value, 0) {
		return false
	}
	c.bytes += len(name) + len(value)
	if len(c.vars) >= maxClientEnv || c.bytes > maxClientEnvBytes {
		return false
	}
	if c.vars == nil {
		c.vars = environment{}
	}
	c.vars[name] = value
	return true
}

// isClientVariable accepts any valid name, except those that the guest sets itself and
// those that the dynamic loader obeys: a laptop's SendEnv must not break every program in
// the workspace.
func isClientVariable(name string) bool {
	switch name {
	case "", "PATH", "HOME", "USER", "LOGNAME", "SHELL", "GLIBC_TUNABLES", "GCONV_PATH", "BASH_ENV", "ENV", "IFS":
		return false
	}
	for _, prefix := range []string{"LD_", "SSH_", "KEYWAY_"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	for i, r := range name {
		alpha := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !alpha && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return true
}
