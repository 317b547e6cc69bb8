//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"keyway/test/lab"
	"keyway/test/lab/run"
)

// The person of TestAPerson: the key is in an agent that only IdentityAgent names and in
// no file, known_hosts is hashed, and ssh shares its connections.
const personsConfig = `Host *
  IdentityAgent ~/vault/agent.sock
  IdentityFile ~/.ssh/id_ed25519.pub
  IdentitiesOnly yes
  ControlMaster auto
  ControlPath ~/.ssh/master-%%C
  ControlPersist 10m
  HashKnownHosts yes

Host bastion
  HostName %s

Host gpu1 gpu2
  HostName %s
  User ada
  ProxyJump bastion

Host gpu2
  Port 2222
`

// personsMachines makes two machines of the GPU machine, with one home directory. The second has a
// host name and processes of its own. The user is not root and may use Docker. Start files print,
// without an end of line.
const personsMachines = `set -e
printf 'printf "\\033]0;gpu\\007welcome"; echo warning >&2\n' >/home/ada/.bashrc
sed -i '/^docker:/d' /etc/group
echo "docker:x:$(stat -c %g /run/docker.sock):ada" >>/etc/group
sed 's/^Port .*/Port 2222/' /etc/ssh/lab/sshd_config >/etc/ssh/lab/second
setsid unshare --uts --pid --fork --mount-proc sh -c 'hostname gpu2; mount --bind /dev/null /run/docker.sock; exec /usr/sbin/sshd -D -f /etc/ssh/lab/second' >/dev/null 2>&1 </dev/null &
`

const personsLaptop = `set -e
mkdir -m 700 /root/vault
ssh-agent -a /root/vault/agent.sock >/dev/null
SSH_AUTH_SOCK=/root/vault/agent.sock ssh-add -q /root/.ssh/id_ed25519
rm /root/.ssh/id_ed25519
sed -n 's/^%[1]s /[%[1]s]:2222 /p' /root/.ssh/known_hosts >>/root/.ssh/known_hosts.2
cat /root/.ssh/known_hosts.2 >>/root/.ssh/known_hosts
ssh-keygen -q -H -f /root/.ssh/known_hosts && rm /root/.ssh/known_hosts.old
`

// person makes the world of TestAPerson.
func person(t *testing.T) *world {
	t.Helper()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	err := errors.Join(
		w.AddUser(w.GPU, "ada", 1500, "unused"),
		w.Bastion.WriteFile("/etc/ssh/banner", "Permission denied, unless authorized.\n\x1b[31mAll is recorded.\n", 0o644),
		w.Laptop.WriteFile("/root/.ssh/config", fmt.Sprintf(personsConfig, w.Bastion.Address, w.GPU.Address), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	mustOn(t, w.GPU, "sh", "-c", personsMachines)
	mustOn(t, w.Bastion, "sh", "-c", "echo Banner /etc/ssh/banner >>/etc/ssh/lab/sshd_config")
	w.Bastion.KillSSHD()
	if err := w.Bastion.StartSSHD(); err != nil {
		t.Fatal(err)
	}
	w.must(t, "sh", "-c", fmt.Sprintf(personsLaptop, w.GPU.Address))
	return w
}

// cuts interrupts the route in each manner, and restores it.
func (w *world) cuts(t *testing.T) {
	t.Helper()
	w.Bastion.KillConnections()
	if err := w.Cut(w.Laptop, w.Bastion); err != nil {
		t.Fatal(err)
	}
	time.Sleep(4 * time.Second) // longer than the time until it is noticed
	if err := w.Restore(w.Laptop, w.Bastion); err != nil {
		t.Fatal(err)
	}
	w.Bastion.KillSSHD()
	time.Sleep(time.Second)
	if err := w.Bastion.StartSSHD(); err != nil {
		t.Fatal(err)
	}
	_ = lab.Kill(9, w.GPU.Nodes()...)
	w.Bastion.KillConnections()
}

// TestAPerson follows README.md from a built keyway to a running job, with a typical configuration,
// and checks that nothing is lost while the route is cut.
func TestAPerson(t *testing.T) {
	t.Parallel()
	w := person(t)
	w.must(t, "keyway", "init", "--yes")
	w.must(t, "keyway", "doctor")
	w.must(t, "keyway", "up", "--on", "gpu1", "--image", string(lab.Base), "--name", train)
	w.must(t, "keyway", "up", "--on", "gpu2", "--engine", "host", "--name", "side")
	holds(t, "the second machine", w.must(t, "ssh", "side", "hostname"), "gpu2\n")
	holds(t, "one's own connection to the machine", w.must(t, "ssh", "-A", "gpu1", "ssh-add -L"), "lab@laptop")

	w.must(t, "keyway", "run", train, "-d", "--as", "exp", "--", "sh", "-c", "for i in $(seq 100); do echo step $i; sleep 0.1; done; exit 7")
	list := strings.Join(strings.Fields(w.must(t, "keyway", "ls")), " ")
	holds(t, "ls", list, "train gpu1 docker running none 1 ")
	holds(t, "ls", list, "side gpu2 host running none 0 ")
	w.oneHomeTwoMachines(t)

	w.must(t, "sh", "-c", "head -c 60000000 /dev/urandom >/root/data")
	var tasks []*exec.Cmd
	var out [3]bytes.Buffer
	for i, script := range []string{
		"scp -q /root/data train:data && ssh train sha256sum data",
		"ssh -q -tt train 'for i in $(seq 90); do echo line $i; sleep 0.1; done; echo whole'",
		"keyway logs train/exp -f",
	} {
		cmd := w.command("sh", "-c", script)
		cmd.Stdout, cmd.Stderr = &out[i], &out[i]
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, cmd)
	}
	w.cuts(t)
	for i, cmd := range tasks {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", cmd.Args, err, run.Clip(out[i].String()))
		}
	}
	equal(t, "the copy", strings.Fields(out[0].String())[0], strings.Fields(w.must(t, "sha256sum", "/root/data"))[0])
	equal(t, "the terminal", strings.ReplaceAll(out[1].String(), "\r", ""), counted("line", 90)+"whole\n")
	equal(t, "the log", out[2].String(), counted("step", 100))
	if r := w.do("keyway", "wait", train+"/exp"); r.Code != 7 {
		t.Errorf("the job's end: %s", r)
	}
	w.must(t, "keyway", "rm", "--yes", train, "side")
}

// counted returns the output of the loops of TestAPerson.
func counted(word string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s %d\n", word, i+1)
	}
	return b.String()
}

// oneHomeTwoMachines checks that neither machine lists, stops or removes workspaces of the other.
func (w *world) oneHomeTwoMachines(t *testing.T) {
	t.Helper()
	for machine, other := range map[string]string{"gpu1": "side", "gpu2": train} {
		holds(t, "ls", w.must(t, "keyway", "ls", "--on", machine), "elsewhere (at "+map[string]string{"gpu1": "gpu2", "gpu2": "gpu1"}[machine])
		for _, verb := range []string{"stop", "rm"} {
			if r := w.do("keyway", verb, "--yes", machine+"/"+other); r.Code == 0 || !strings.Contains(r.Stderr, "same home directory") {
				t.Errorf("the machine that does not have it: %s", r)
			}
		}
		holds(t, other, w.must(t, "ssh", other, "echo lives"), "lives\n")
	}
}
