package host

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"time"
)

// logout is the effect of a logout on the programs that the login has started.
type logout int

const (
	goesOn   logout = iota // nothing
	needsOwn               // systemd ends them, unless they run in a scope of the user's own manager, which lingers
	isEnded                // systemd ends them
)

// atLogout finds the effect in the files of a machine: systemd-logind ends a session's scope with
// all its processes if KillUserProcesses is set (logind.conf(5)).
func atLogout(root fs.FS, user string) logout {
	group, _ := fs.ReadFile(root, "proc/self/cgroup")
	if !strings.Contains(string(group), "/session-") || !strings.Contains(string(group), ".scope") {
		return goesOn // this is not a login but a container or a service
	}
	conf := logindConf(root)
	only := strings.Fields(conf["KillOnlyUsers"])
	except, given := conf["KillExcludeUsers"]
	if !given {
		except = "root"
	}
	switch {
	case !isYes(conf["KillUserProcesses"]), slices.Contains(strings.Fields(except), user), len(only) > 0 && !slices.Contains(only, user):
		return goesOn
	case user != "" && exists(root, path.Join("var/lib/systemd/linger", user)):
		return needsOwn
	}
	return isEnded
}

// maxConf bounds the bytes of a file of logind's.
const maxConf = 64 << 10

// logindConf returns the effective logind.conf(5): the defaults that logind was built with, which
// the main file has in comments, then the file itself, then the drop-in files, sorted by name. A
// drop-in in /etc hides one of the same name elsewhere.
func logindConf(root fs.FS) map[string]string {
	files := map[string]string{}
	for _, dir := range []string{"usr/lib", "usr/local/lib", "run", "etc"} {
		found, _ := fs.Glob(root, dir+"/systemd/logind.conf.d/*.conf")
		for _, file := range found {
			files[path.Base(file)] = file
		}
	}
	main := "etc/systemd/logind.conf"
	if !exists(root, main) {
		main = "usr/lib/systemd/logind.conf"
	}
	conf := map[string]string{}
	read(root, main, "#", conf)
	read(root, main, "", conf)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		read(root, files[name], "", conf)
	}
	return conf
}

// read adds the lines NAME=VALUE of a file that begin with mark.
func read(root fs.FS, file, mark string, conf map[string]string) {
	data, err := fs.ReadFile(root, file)
	if err != nil || len(data) > maxConf {
		return
	}
	for line := range strings.Lines(string(data)) {
		line, marked := strings.CutPrefix(strings.TrimSpace(line), mark)
		if name, value, ok := strings.Cut(line, "="); ok && marked {
			conf[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
}

func isYes(word string) bool {
	return slices.Contains([]string{"1", "yes", "y", "true", "t", "on"}, strings.ToLower(word))
}

func exists(root fs.FS, file string) bool {
	_, err := fs.Stat(root, file)
	return err == nil
}

// ownScope is the start of a command that runs in a scope of the user's own manager. The process
// stays the same: systemd-run executes the command.
var ownScope = []string{"systemd-run", "--user", "--scope", "--quiet", "--collect", "--"}

// scope returns the start of a workspace's command, with which a logout does not end it, and a
// message about it.
func (e *Engine) scope(ctx context.Context) (begin []string, news string) {
	host, _ := os.Hostname()
	switch atLogout(e.machine, os.Getenv("USER")) {
	case goesOn:
		return nil, ""
	case needsOwn:
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if exec.CommandContext(ctx, ownScope[0], append(ownScope[1:len(ownScope):len(ownScope)], "true")...).Run() == nil {
			return ownScope, "systemd at " + host + " ends what you have started when you log out; the workspace stays, in a scope of your own"
		}
	}
	return nil, "systemd at " + host + " ends what you have started when you log out (KillUserProcesses in logind.conf), the workspace and its jobs, too; " +
		"to keep them, type there: loginctl enable-linger; and then make the workspace again"
}
