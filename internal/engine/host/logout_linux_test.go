package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

const session = "0::/user.slice/user-1000.slice/session-3.scope\n"

// machine has files, and this process in a cgroup.
func machine(cgroup string, files map[string]string) fstest.MapFS {
	m := fstest.MapFS{"proc/self/cgroup": {Data: []byte(cgroup)}}
	for name, content := range files {
		m[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return m
}

func TestAtLogout(t *testing.T) {
	const main, further = "etc/systemd/logind.conf", "etc/systemd/logind.conf.d/"
	yes := map[string]string{main: "[Login]\nKillUserProcesses=yes\n"}
	with := func(file, content string) map[string]string {
		return map[string]string{main: yes[main], file: content}
	}
	for name, c := range map[string]struct {
		cgroup string
		files  map[string]string
		want   logout
	}{
		"no systemd":                {"0::/\n", nil, goesOn},
		"nothing said":              {session, map[string]string{main: "[Login]\n#NAutoVTs=6\n"}, goesOn},
		"what it was built with":    {session, map[string]string{main: "[Login]\n#KillUserProcesses=yes\n"}, isEnded},
		"built with, but said":      {session, map[string]string{main: "[Login]\nKillUserProcesses=no\n#KillUserProcesses=yes\n"}, goesOn},
		"a main file elsewhere":     {session, map[string]string{"usr/lib/systemd/logind.conf": "KillUserProcesses=true\n"}, isEnded},
		"said":                      {session, yes, isEnded},
		"said with blanks":          {session, map[string]string{main: " KillUserProcesses = On \r\n"}, isEnded},
		"said in a comment":         {session, map[string]string{main: "# KillUserProcesses is yes\n"}, goesOn},
		"of version 1":              {"1:name=systemd:/user.slice/user-1000.slice/session-3.scope\n", yes, isEnded},
		"in a service of one's own": {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n", yes, goesOn},
		"in a container":            {"0::/system.slice/docker-1.scope\n", yes, goesOn},
		"taken back":                {session, with(further+"50-keep.conf", "KillUserProcesses=no"), goesOn},
		"said later":                {session, map[string]string{main: "KillUserProcesses=no", "usr/lib/systemd/logind.conf.d/x.conf": "KillUserProcesses=yes"}, isEnded},
		"hidden by one in etc":      {session, map[string]string{"usr/lib/systemd/logind.conf.d/x.conf": "KillUserProcesses=yes", further + "x.conf": ""}, goesOn},
		"excepted":                  {session, with(further+"x.conf", "KillExcludeUsers=root ada"), goesOn},
		"others only":               {session, with(further+"x.conf", "KillOnlyUsers=bob"), goesOn},
		"of those":                  {session, with(further+"x.conf", "KillOnlyUsers=bob ada"), isEnded},
		"lingering":                 {session, with("var/lib/systemd/linger/ada", ""), needsOwn},
		"another lingers":           {session, with("var/lib/systemd/linger/bob", ""), isEnded},
	} {
		if got := atLogout(machine(c.cgroup, c.files), "ada"); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := atLogout(machine(session, yes), "root"); got != goesOn {
		t.Errorf("root, who is excepted where nothing else is said: %d", got)
	}
	if got := atLogout(machine(session, yes), `CORP\ada`); got != isEnded {
		t.Errorf("a directory's user: %d", got)
	}
}

// TestScope checks that a workspace gets a scope of its own where that keeps it running and is
// possible, and that the effect of a logout is reported.
func TestScope(t *testing.T) {
	t.Setenv("USER", "ada")
	dir := t.TempDir()
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	manager := func(script string) {
		if err := os.WriteFile(filepath.Join(dir, "systemd-run"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	yes := map[string]string{"etc/systemd/logind.conf": "KillUserProcesses=yes", "var/lib/systemd/linger/ada": ""}
	e := Engine{machine: machine(session, yes)}
	manager(`until [ "$1" = -- ]; do shift; done; shift; exec "$@"`)
	if begin, news := e.scope(t.Context()); len(begin) != len(ownScope) || !strings.Contains(news, "stays") {
		t.Errorf("%q, %q", begin, news)
	}
	manager("exit 1")
	if begin, news := e.scope(t.Context()); begin != nil || !strings.Contains(news, "enable-linger") {
		t.Errorf("without a manager: %q, %q", begin, news)
	}
	e.machine = machine(session, nil)
	if begin, news := e.scope(t.Context()); begin != nil || news != "" {
		t.Errorf("where nothing is ended: %q, %q", begin, news)
	}
}
