//go:build linux

package agent

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"keyway/internal/sshwire"
	"keyway/internal/unixsock"
)

// forwarder is a client on the laptop that forwards the agent to the bastion.
type forwarder struct {
	name  string
	binds bool                                                              // it binds the agent to the hosts to which it forwards
	argv  func(t *testing.T, a *testAgent, socket, address string) []string // SSH_AUTH_SOCK is socket, too
}

var forwarders = []forwarder{
	{"OpenSSH (`ssh -A`)", true, func(_ *testing.T, a *testAgent, socket, address string) []string {
		return []string{"ssh", "-o", "IdentityAgent=" + a.socket, "-o", "ForwardAgent=" + socket, "me@" + address, showSocket}
	}},
	{"OpenSSH before 8.9", false, func(t *testing.T, a *testAgent, socket, address string) []string {
		return []string{"ssh", "-o", "IdentityAgent=" + a.socket, "-o", "ForwardAgent=" + a.withoutBinds(t, socket), "me@" + address, showSocket}
	}},
	{"PuTTY (`plink -A`)", false, func(_ *testing.T, a *testAgent, _, address string) []string {
		return []string{"plink", "-batch", "-ssh", "-A", "-agent", "-hostkey", a.w.fingerprint("bastion"), "me@" + address, showSocket}
	}},
	{"Dropbear (`dbclient -A`)", false, func(_ *testing.T, _ *testAgent, _, address string) []string {
		return []string{"dbclient", "-A", "me@" + address, showSocket}
	}},
	{"Paramiko", false, func(_ *testing.T, _ *testAgent, _, address string) []string {
		return []string{"/usr/bin/python3", "-W", "ignore", "-c", paramikoForwarder, address, showSocket}
	}},
	{"AsyncSSH", false, func(_ *testing.T, _ *testAgent, _, address string) []string {
		return []string{"/usr/bin/python3", "-c", asyncsshForwarder, address, showSocket}
	}},
}

const paramikoForwarder = `
import sys, paramiko
from paramiko.agent import AgentRequestHandler
address, command = sys.argv[1:]
client = paramiko.SSHClient()
client.load_system_host_keys()
client.set_missing_host_key_policy(paramiko.RejectPolicy())
client.connect(address, username="me", look_for_keys=False)
channel = client.get_transport().open_session()
handler = AgentRequestHandler(channel)
channel.exec_command(command)
print(channel.makefile().readline(), end="", flush=True)
sys.stdin.read()
client.close()
`

const asyncsshForwarder = `
import asyncio, sys, asyncssh
address, command = sys.argv[1:]
async def main():
    async with asyncssh.connect(address, username="me", config=None, agent_forwarding=True,
                                known_hosts="/root/.ssh/known_hosts") as connection:
        process = await connection.create_process(command)
        print(await process.stdout.readline(), end="", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
asyncio.run(main())
`

// withoutBinds simulates an agent that a client without session-bind forwards: a socket on the
// laptop that drops the first message of ssh for each channel, and passes the messages of
// askers at the far end on.
func (a *testAgent) withoutBinds(t *testing.T, socket string) string {
	t.Helper()
	old := socket + ".old"
	l, err := unixsock.Listen(a.w.Laptop.Path(old), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { forgetFirstBind(conn, a.w.Laptop.Path(socket)) })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return old
}

func forgetFirstBind(conn net.Conn, socket string) {
	defer conn.Close()
	agent, err := unixsock.Dial(socket)
	if err != nil {
		return
	}
	defer agent.Close()
	in := bufio.NewReader(conn)
	for first := true; ; first = false {
		head, err := in.Peek(4)
		if err != nil {
			return
		}
		n := int(sshwire.NewReader(head).Uint32())
		frame := make([]byte, 4+n)
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		answer := []byte{agentFailure}
		if r := sshwire.NewReader(frame[4:]); !first || r.Byte() != agentExtension || r.Text() != sessionBind {
			answer = asker{agent}.ask(frame[4:])
		}
		if _, err := conn.Write(sshwire.AppendString(nil, answer)); err != nil || answer == nil {
			return
		}
	}
}

// tried are the attempts of root on the bastion through every forwarder.
var tried = []attempt{attempts[0], attempts[1], attempts[2], attempts[3],
	{what: "sign a file", shell: "rm -f message.sig; ssh-keygen -Y sign -n file -f me.pub message"},
	{what: "add a key", shell: "ssh-add -q evil"},
}

// TestForeignForwarders forwards the agent by clients that do not bind. It checks that requests
// through forward.sock count as remote nevertheless. The table shows what is granted through each
// of the two sockets.
func TestForeignForwarders(t *testing.T) {
	w := theWorld(t)
	rows := make([]string, 2*len(forwarders))
	t.Run("by", func(t *testing.T) {
		for i, f := range forwarders {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				for j, through := range []string{"agent.sock", "forward.sock"} {
					rows[2*i+j] = f.row(t, w, fmt.Sprintf("by%d-%d", i, j), through)
				}
			})
		}
	})
	if t.Failed() {
		return
	}
	var table strings.Builder
	table.WriteString("| forwarded by | through |")
	for _, a := range tried {
		table.WriteString(" " + a.what + " |")
	}
	table.WriteString("\n|---|---|" + strings.Repeat("---|", len(tried)) + "\n" + strings.Join(rows, ""))
	keepTable(t, "forwarders", table.String())
}

// row forwards an agent of its own and makes all attempts.
func (f forwarder) row(t *testing.T, w *world, name, through string) string {
	t.Helper()
	// The user is asked about a login through forward.sock without a bind. The answer is yes while
	// this file exists.
	yes, person := "/root/"+name+".yes", "/root/"+name+".person"
	for path, text := range map[string]string{yes: "", person: "#!/bin/sh\nexec test -e " + yes + "\n"} {
		if err := w.Laptop.WriteFile(path, text, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	a := w.ours(t, name, "SSH_ASKPASS="+person, "SSH_ASKPASS_REQUIRE=force")
	a.unlock(t)
	socket := a.socket
	if through == "forward.sock" {
		socket = a.forward
	}
	login := *a
	if !strings.HasPrefix(f.name, "OpenSSH") {
		login.socket = socket // it has only one socket
	}
	s := login.forwardBy(t, w.hops()[0], f.argv(t, a, socket, w.Bastion.Address))
	if _, err := w.Laptop.Output("rm", yes); err != nil {
		t.Fatal(err)
	}
	remote := f.binds || through == "forward.sock"
	row := fmt.Sprintf("| %s | `%s` |", f.name, through)
	for _, try := range tried {
		before := len(a.events(t, 0))
		worked := s.try(t, try)
		row += map[bool]string{true: " works |", false: " refused |"}[worked]
		if want := !remote || slices.Contains(try.fine, "bastion"); worked != want {
			t.Errorf("%s through %s: %s: %v, want %v", f.name, through, try.what, worked, want)
		}
		if remote && !try.quiet && !logged(a.events(t, before), worked) {
			t.Errorf("%s through %s: %s: the log does not say so", f.name, through, try.what)
		}
	}
	return row + "\n"
}

// TestPodToPod logs in from the laptop to a workspace and from there to another, with the agent
// forwarded by the guests' own servers. It checks the log of each signature.
func TestPodToPod(t *testing.T) {
	w := theWorld(t)
	a := w.ours(t, "pods")
	a.unlock(t)
	files := a.forwardTo(t, w.hops()[1], a.socket).dir // the ssh_config, on the GPU machine
	into := func(a *testAgent, socket, command string) (string, error) {
		return w.try(w.Laptop, nil, "ssh", "-o", "IdentityAgent="+a.socket, "-o", "ForwardAgent="+socket, train, command)
	}
	onward := "ssh -F " + files + "/config second echo arrived"
	for _, socket := range []string{a.socket, a.forward} {
		before := len(a.events(t, 0))
		aloneMu.Lock()
		out, err := into(a, socket, onward)
		aloneMu.Unlock()
		if err != nil || out != "arrived\n" {
			t.Errorf("from workspace to workspace through %s: %v: %s", socket, err, out)
		}
		e := a.events(t, before)
		if last := e[len(e)-1]; last.Event != "sign" || last.Verdict != "allowed" || !last.Remote || last.From != train || last.To != second {
			t.Errorf("%+v", last)
		}
	}
	// A key restricted as ssh-agent has it stops there, with either agent, and
	// ours says why.
	stock := w.stock(t, "pods-stock")
	for _, a := range []*testAgent{stock, a} {
		a.unlock(t, restricted(train, train+">"+second)...)
		if _, err := into(a, a.socket, "true"); err != nil {
			t.Errorf("%s: %v", a.name, err)
		}
		if out, err := into(a, a.socket, onward); err == nil {
			t.Errorf("%s: a restricted key: %s", a.name, out)
		}
	}
	e := a.events(t, 0)
	if last := e[len(e)-1]; last.To != second || !strings.Contains(last.Reason, "publickey-hostbound-v00@openssh.com") {
		t.Errorf("%+v", last)
	}
}
