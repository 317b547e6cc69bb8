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

// logout is what the end of a login does to what it has started.
type logout int

const (
	goesOn   logout = iota // nothing
	needsOwn               // systemd ends it, unless it runs in a scope of the user's own manager, which lingers
	isEnded                // systemd ends it
)

// atLogout finds that out by the files of a machine: systemd-logind ends a session's scope
// with all that is in it where KillUserProcesses says so (logind.conf(5)).
func atLogout(root fs.FS, user string) logout {
	group, _ := fs.ReadFile(root, "proc/self/cgroup")
	if !strings.Contains(string(group), "/session-") || !strings.Contains(string(group), ".scope") {
		return goesOn // no login's: a container's, a service's
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

// maxConf bounds a file of logind's, in bytes.
const maxConf = 64 << 10

// logindConf is what holds of logind.conf(5): what the main file says in comments, which is
// what logind was built with, the file itself, and over it the further ones by their
// names, of which one in /etc hides one of the same name elsewhere.
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

// read adds the lines NAME=VALUE of a file that begin with a mark.
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

// ownScope begins a command that is run in a scope of the user's own manager: of the same
// process, which systemd-run becomes.
var ownScope = []string{"systemd-run", "--user", "--scope", "--quiet", "--collect", "--"}

// scope is what begins the command of a workspace, so that a logout does not end it; and
// what there is to say of that.
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
		"to keep them, type there: loginctl enable-linger; and then make the workspace anew"
}
