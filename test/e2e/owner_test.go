//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"keyway/test/lab"
)

// TestANewKeyEnters replaces the key that existed at the time of up. It checks that a user that
// reaches the node as the owner can still enter the workspace, and run and read jobs there.
func TestANewKeyEnters(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{})
	w.must(t, "keyway", "init", "--yes")
	w.must(t, "keyway", "unlock")
	w.must(t, "keyway", "up", "--on", "gpu1", "--engine", "host", "--name", train)
	w.must(t, "keyway", "run", train, "-d", "--as", "exp", "--", "sh", "-c", "echo kept")
	w.must(t, "keyway", "wait", train+"/exp")
	named := w.must(t, "sh", "-c", "keyway up --on gpu1 --engine host --name closed --key ~/.ssh/id_ed25519.pub && ssh closed echo in")
	holds(t, "with its key", named, "in\n")

	socket := sshOption(t, w, train, "identityagent")
	add := func(file string) {
		t.Helper()
		w.must(t, "sh", "-c", "ssh-keygen -q -t ed25519 -N '' -C "+file+" -f /root/"+file+
			" && SSH_AUTH_SOCK="+socket+" ssh-add -q -D && SSH_AUTH_SOCK="+socket+" ssh-add -q /root/"+file)
	}
	add("second")
	equal(t, "ssh with a new key", w.must(t, "ssh", "-o", "BatchMode=yes", train, "echo in"), "in\n")
	holds(t, "logs with a new key", w.must(t, "keyway", "logs", train+"/exp"), "kept")
	if r := w.do("ssh", "-o", "BatchMode=yes", "closed", "true"); r.Code == 0 {
		t.Errorf("a key that --key did not name enters: %s", r)
	}
	hosts := w.must(t, "cat", "/root/.local/state/keyway/hosts.json")
	w.must(t, "ssh", train, "true")
	equal(t, "what is remembered after a second time", w.must(t, "cat", "/root/.local/state/keyway/hosts.json"), hosts)

	add("third")
	w.must(t, "keyway", "stop", "--yes", train)
	w.must(t, "keyway", "start", train)
	equal(t, "ssh after start", w.must(t, "ssh", "-o", "BatchMode=yes", train, "echo in"), "in\n")
	keys := w.must(t, "ssh", train, `cat "$KEYWAY_HOME/authorized_keys"`)
	if strings.Count(keys, "expiry-time=") != 2 || !strings.Contains(keys, " third\n") {
		t.Errorf("those who may enter:\n%s", keys)
	}
}

// TestTheAgentThatTheConfigurationNames checks a laptop where only the agent of IdentityAgent has a
// key: the desktop's is empty, and Host * has IdentitiesOnly. Then it checks a laptop without any
// agent, on which a key file without a passphrase counts as a key.
func TestTheAgentThatTheConfigurationNames(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{})
	w.must(t, "keyway", "init", "--yes")
	w.must(t, "sh", "-c", "mkdir -p /root/vault && ssh-agent -a /root/vault/agent-0.sock >/root/vault/env && ssh-agent -a /root/vault/desktop >>/root/vault/env"+
		" && SSH_AUTH_SOCK=/root/vault/agent-0.sock ssh-add -q"+
		" && printf '\\nHost *\\n  IdentitiesOnly yes\\n  IdentityAgent %%d/vault/agent-%%i.sock\\n' >>/root/.ssh/config")
	t.Cleanup(func() { w.do("sh", "-c", `sed -n 's/.*Agent pid \([0-9]*\);.*/\1/p' /root/vault/env | xargs kill`) })
	w.must(t, "sh", "-c", "SSH_AUTH_SOCK=/root/vault/desktop keyway up --on gpu1 --engine host --name "+train)
	equal(t, "ssh", w.must(t, "sh", "-c", "SSH_AUTH_SOCK=/root/vault/desktop ssh -o BatchMode=yes train echo in"), "in\n")

	w.must(t, "sh", "-c", "SSH_AUTH_SOCK=/root/vault/agent-0.sock ssh-add -q -D; ssh-keygen -q -p -P 'correct horse battery staple' -N '' -f /root/.ssh/id_ed25519")
	told := w.must(t, "sh", "-c", "keyway up --on gpu1 --engine host --name open 2>&1 && ssh -o BatchMode=yes open echo in")
	holds(t, "up", told, "key files")
	holds(t, "ssh", told, "in\n")
	equal(t, "the entry's key", sshOption(t, w, "open", "identityfile"), "/root/.ssh/id_ed25519")
}

// TestAHostWorkspaceIsALogin checks that programs in a workspace of the host engine have the
// environment, umask, limits and locale of an ssh login to the machine.
func TestAHostWorkspaceIsALogin(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{})
	w.must(t, "keyway", "init", "--yes")
	w.must(t, "keyway", "unlock")
	w.must(t, "ssh", "gpu1", "printf 'umask 027\nulimit -n 777\nexport LC_ALL=C.UTF-8 OF_THE_LOGIN=1\n' >~/.bashrc")
	w.must(t, "keyway", "up", "--on", "gpu1", "--engine", "host", "--name", train)
	// These variables differ by connection, workspace, job and shell.
	probe := `env | grep -v '^\(SSH_[A-Z_]*\|KEYWAY_[A-Z_]*\|PATH\|SHLVL\|PWD\|OLDPWD\|_\|TERM\|PYTHONUNBUFFERED\|MOTD_SHOWN\|XDG_SESSION_[A-Z]*\)=' | sort; umask; ulimit -a; locale; echo ärger >~/file; ls -l ~/file | cut -c1-10; rm ~/file`
	login := w.must(t, "ssh", "gpu1", probe)
	holds(t, "the login", login, "OF_THE_LOGIN=1")
	holds(t, "the login", login, "\n-rw-r-----\n")
	equal(t, "ssh to the workspace", w.must(t, "ssh", train, probe), login)
	w.must(t, "ssh", "gpu1", "rm ~/.bashrc") // what the workspace has of its own
	equal(t, "a job", w.must(t, "keyway", "run", train, "--", "bash", "-c", probe), login)
}

// TestUsersOfADirectory checks users that /etc/passwd does not have, with names as directories give
// them, in a workspace of plain processes. Then their start files unset the variables of the login,
// so that the directory has to be asked.
func TestUsersOfADirectory(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{})
	w.must(t, "keyway", "init", "--yes")
	w.must(t, "keyway", "unlock")
	probe := `printf '%s %s %s %s\n' "$USER" "$LOGNAME" "$HOME" "$SHELL"; id -un; pwd`
	for i, name := range []string{"ada@corp.example.com", `CORP\nina`} {
		alias, ws := fmt.Sprintf("directory%d", i), fmt.Sprintf("of%d", i)
		if err := w.AddDirectoryUser(w.GPU, name, 70001+i, alias); err != nil {
			t.Fatal(err)
		}
		login := w.must(t, "ssh", alias, probe)
		holds(t, "the login", login, name+" "+name+" ")
		holds(t, "the login", login, "/bin/zsh\n"+name+"\n")
		place := []string{alias, name + "@gpu1"}[i]
		w.must(t, "keyway", "up", "--on", place, "--engine", "host", "--name", ws)
		equal(t, "ssh's user", sshOption(t, w, ws, "user"), name)
		equal(t, "ssh", w.must(t, "ssh", ws, probe), login)
		equal(t, "where one is", w.must(t, "ssh", ws, "echo $KEYWAY_WORKSPACE"), ws+"\n")
		equal(t, "a job", w.must(t, "keyway", "run", ws, "--", "sh", "-c", probe), login)
		w.must(t, "scp", "-q", "/root/.ssh/config", ws+":copied")
		equal(t, "the copy's owner", w.must(t, "ssh", ws, "stat -c %U copied"), name+"\n")
		holds(t, "ls", w.must(t, "keyway", "ls", "--on", place), ws)
		w.must(t, "keyway", "rm", "--yes", ws)

		w.must(t, "ssh", alias, "echo 'unset USER LOGNAME SHELL' >~/.zshenv")
		w.must(t, "keyway", "link", "stop")
		w.must(t, "keyway", "up", "--on", place, "--engine", "host", "--name", ws)
		w.must(t, "ssh", alias, "rm ~/.zshenv")
		equal(t, "ssh after start files that take it away", w.must(t, "ssh", ws, probe), login)
		w.must(t, "keyway", "rm", "--yes", ws)
	}
}
