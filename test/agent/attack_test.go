//go:build linux

package agent

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/audit"
	"keyway/internal/sshwire"
	"keyway/internal/unixsock"
)

// attempt is an action of an attacker with the forwarded socket. The table in docs/THREATS.md tells
// which succeed.
type attempt struct {
	what    string
	shell   string                                   // for the hop's shell, or
	play    func(t *testing.T, s *session) (ok bool) // in raw messages
	options func(hop string) []string                // how the user added the key; nil: without any
	fine    []string                                 // hops from which keyway's agent may permit it
	breaks  bool                                     // the key may be gone after it
	alone   bool                                     // it forwards to a workspace, where the newest agent serves all sessions
	quiet   bool                                     // the log has no line of it, or it ends elsewhere
}

var anywhere = []string{"bastion", "gpu1", train}

var attempts = []attempt{
	{what: "list the keys", shell: "ssh-add -l", fine: anywhere, quiet: true},
	{what: "log in to a workspace of the user", shell: "ssh -F config second true", fine: []string{train}},
	{what: "push to the user's repositories", shell: push, fine: []string{train}},
	{what: "log in to another host", shell: "ssh -F config db true"},
	{what: "log in to the machine they are on, as the user", shell: "ssh -F config $HOP true", fine: []string{train}},
	{what: "go on from a workspace to another host", shell: `ssh -F config -A second "ssh -F $PWD/config db true"`, alone: true},
	{what: "log in to a workspace with a client that does not bind (`plink`)", shell: `plink -batch -ssh -agent -hostkey "$FINGERPRINT" -proxycmd "$WAY" root@second true`},
	{what: "log in to another host with such a client (`dbclient`)", shell: "dbclient -y -p $DBPORT root@$DB true"},
	{what: "sign a git commit", shell: "rm -rf repo && git init -q repo && cd repo && git -c user.name=x -c user.email=x@x -c gpg.format=ssh -c user.signingkey=../me.pub commit -q -S --allow-empty -m x"},
	{what: "sign a file", shell: "rm -f message.sig; ssh-keygen -Y sign -n file -f me.pub message"},
	{what: "sign any data (`ssh-add -T`)", shell: "ssh-add -T me.pub"},
	{what: "sign 64 bytes, raw", play: signBytes},
	{what: "sign a login that names a workspace, without that workspace's proof", play: signNamed},
	{what: "forge a workspace's proof, then sign any data", play: forgeBind},
	{what: "replay a workspace's proof, then log in to another host", play: replayBind},
	{what: "replay a signature for a workspace at the same workspace", play: replaySignature, quiet: true},
	{what: "forge a route through another machine, then log in to another host", play: forgeWay},
	{what: "log in to another host with a key restricted (`ssh-add -h`) to the machine they are on", shell: "ssh -F config db true", options: onlyTo},
	{what: "the same with a key restricted to a route through another machine, which they forge", play: forgeWay, options: wayToDB},
	{what: "log in along that route, with that key", shell: `ssh -F config -A $THIRD "ssh -F $PWD/config db true"`, options: wayToDB, fine: anywhere},
	{what: "add a key", shell: "ssh-add -q evil", breaks: true},
	{what: "add a key for a while", shell: "ssh-add -q -t 60 evil", breaks: true},
	{what: "lock the agent, and unlock it", shell: "export SSH_ASKPASS=./askpass SSH_ASKPASS_REQUIRE=force; ssh-add -x && ssh-add -X"},
	{what: "remove a key", shell: "ssh-add -q -d me.pub", breaks: true},
	{what: "remove all keys", shell: "ssh-add -q -D", breaks: true},
	{what: "have a library loaded", shell: "SSH_ASKPASS=./askpass SSH_ASKPASS_REQUIRE=force ssh-add -s $LIBRARY"},
	{what: "keep the user from the agent by 200 connections that send half a message or read no answer", play: hold, quiet: true},
	{what: "flood the user with questions (a key added with `ssh-add -c`)", play: flood, quiet: true},
}

// third returns a machine that is neither the hop nor the attack's destination.
func third(hop string) string {
	if hop == "bastion" {
		return "gpu1"
	}
	return "bastion"
}

// restricted returns the options that restrict a key to a route of steps.
func restricted(steps ...string) []string {
	options := []string{"-H", knownHosts, "-H", ourKnownHosts}
	for _, step := range steps {
		step = strings.NewReplacer(train, train+".keyway", second, second+".keyway").Replace(step)
		options = append(options, "-h", step)
	}
	return options
}

func onlyTo(hop string) []string { return restricted(hop) }

func wayToDB(hop string) []string {
	return restricted(hop, hop+">"+third(hop), third(hop)+">db")
}

func signBytes(t *testing.T, s *session) bool {
	_, err := s.dial(t).sign(s.w.key(), bytes.Repeat([]byte{7}, 64))
	return err == nil
}

func signNamed(t *testing.T, s *session) bool {
	_, err := s.dial(t).sign(s.w.key(), s.loginData("made up", "root", second))
	return err == nil
}

// loginData returns the data to be signed for publickey-hostbound-v00@openssh.com.
func (s *session) loginData(id, user, host string) []byte {
	const request = 50
	b := append(sshwire.AppendString(nil, id), request)
	for _, part := range []string{user, "ssh-connection", "publickey-hostbound-v00@openssh.com"} {
		b = sshwire.AppendString(b, part)
	}
	b = sshwire.AppendString(append(b, 1), ssh.KeyAlgoED25519)
	return sshwire.AppendString(sshwire.AppendString(b, s.w.key()), s.w.host(host))
}

func forgeBind(t *testing.T, s *session) bool {
	a := s.dial(t)
	e := s.prove(t, second)
	e.session = []byte("another session")
	if a.bind(e, false) {
		t.Error("a forged proof was believed")
	}
	_, err := a.sign(s.w.key(), []byte("any data"))
	return err == nil
}

func replayBind(t *testing.T, s *session) bool {
	a := s.dial(t)
	if !a.bind(s.prove(t, second), false) {
		t.Error("a true proof was not believed")
	}
	return s.login(t, "db", func(_ exchanged, data []byte) (*ssh.Signature, error) { return a.sign(s.w.key(), data) })
}

func replaySignature(t *testing.T, s *session) bool {
	var old *ssh.Signature
	if !s.login(t, second, func(e exchanged, data []byte) (_ *ssh.Signature, err error) {
		a := s.dial(t)
		a.bind(e, false)
		old, err = a.sign(s.w.key(), data)
		return old, err
	}) {
		if s.agent.log == "" || s.hop.name == train {
			t.Error("what is permitted does not work")
		}
		return false // no signature to replay
	}
	return s.login(t, second, func(exchanged, []byte) (*ssh.Signature, error) { return old, nil })
}

// forgeWay presents another machine's genuine proof of a session of the attacker's, as if the agent
// were forwarded there.
func forgeWay(t *testing.T, s *session) bool {
	socket := s.withBind(t, s.prove(t, third(s.hop.name)), true)
	_, err := s.shWith(socket, "ssh -F config db true")
	return err == nil
}

// push makes a commit and pushes it to the user's repository at the public git host.
const push = "rm -rf pushed && git init -q pushed && cd pushed && " +
	"git -c user.name=x -c user.email=x@x commit -q --allow-empty -m x && " +
	`GIT_SSH_COMMAND="ssh -F $PWD/../config" git push -q -f ssh://git/srv/git/mine.git HEAD:refs/heads/from-$HOP-$$` // of its own: others push at the same time

// flood makes forty different requests. It succeeds if a user who denies all is asked more than ten
// times.
func flood(t *testing.T, s *session) bool {
	asked, person := "/root/"+s.agent.name+".asked", "/root/"+s.agent.name+".person"
	if err := s.w.Laptop.WriteFile(person, "#!/bin/sh\necho asked >>"+asked+"\nexit 1\n", 0o700); err != nil {
		t.Fatal(err)
	}
	env := []string{"SSH_ASKPASS=" + person, "SSH_ASKPASS_REQUIRE=force"}
	start := s.w.ours
	if s.agent.log == "" {
		start = s.w.stock
	}
	a := start(t, s.agent.name+"-flood", env...)
	a.unlock(t)
	c := a.forwardTo(t, s.hop, a.socket).dialAnswered(t)
	a.unlock(t, "-c")
	for i := range 40 {
		c.sign(s.w.key(), s.loginData("made up", fmt.Sprint("user", i), second))
	}
	questions, err := s.w.Laptop.ReadFile(asked)
	if err != nil {
		t.Fatal(err) // none was asked
	}
	return strings.Count(questions, "\n") > 10
}

func hold(t *testing.T, s *session) bool {
	late := time.Now().Add(patience)
	for i := 0; i < 200 && time.Now().Before(late); {
		conn, err := unixsock.Dial(s.hop.host.Path(s.socket))
		if errors.Is(err, syscall.EAGAIN) {
			continue // it has not accepted the other connections yet
		}
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		i++
		a := asker{conn}
		a.SetDeadline(time.Now().Add(50 * time.Millisecond))
		if i%2 == 0 {
			a.Write([]byte{0, 0, 1, 0, agentSign})
			continue
		}
		a.Write(bytes.Repeat([]byte{0, 0, 0, 1, 11}, 10_000))
	}
	_, err := s.agent.add("-l")
	return err != nil
}

// results has the results of the attempts, in order.
type results []bool

// attack makes all attempts from a hop.
func (a *testAgent) attack(t *testing.T, h hop, socket string) results {
	a.unlock(t)
	s := a.forwardTo(t, h, socket)
	var all results
	again := false
	for _, try := range attempts {
		if try.options != nil {
			a.unlock(t, try.options(h.name)...)
		} else if again {
			a.unlock(t)
		}
		again = try.breaks || try.options != nil
		before := len(a.events(t, 0))
		worked := s.try(t, try)
		all = append(all, worked)
		if a.log == "" {
			continue
		}
		if worked && !slices.Contains(try.fine, h.name) {
			t.Errorf("%s: it worked", try.what)
		}
		if !try.quiet && !logged(a.events(t, before), worked) {
			t.Errorf("%s: worked is %v, and the log does not say so", try.what, worked)
		}
	}
	return all
}

var aloneMu sync.Mutex

func (s *session) try(t *testing.T, a attempt) (worked bool) {
	if a.alone {
		aloneMu.Lock()
		defer aloneMu.Unlock()
	}
	if a.play != nil {
		return a.play(t, s)
	}
	_, err := s.sh(a.shell)
	return err == nil
}

// logged reports whether the log has a remote request with that verdict.
func logged(events []audit.Event, worked bool) bool {
	return slices.ContainsFunc(events, func(e audit.Event) bool {
		return e.Remote && e.Reason != "" && (e.Verdict == "allowed") == worked
	})
}

// unharmed checks that the user's keys and files are unchanged.
func (a *testAgent) unharmed(t *testing.T) {
	t.Helper()
	if out, err := a.add("-l"); err != nil || strings.Count(out, "\n") != 1 {
		t.Errorf("the agent is not what it was: %v: %s", err, out)
	}
	if _, err := a.w.try(a.w.Laptop, nil, "ssh", "-o", "IdentityAgent="+a.socket, train, "true"); err != nil {
		t.Errorf("the user cannot log in any more: %v", err)
	}
}

// TestForwardedAgentIsAttacked gives three attackers the socket of a forwarded agent and the
// programs to use it: root on the bastion, root on the GPU machine, and a user in a workspace. They
// use OpenSSH's programs, others, and raw messages. The results are the table in docs/THREATS.md.
func TestForwardedAgentIsAttacked(t *testing.T) {
	w := theWorld(t)
	stock, ours, viaForward := map[string]results{}, map[string]results{}, map[string]results{}
	var mu sync.Mutex // over the three attackers
	t.Run("from", func(t *testing.T) {
		for _, h := range w.hops() {
			t.Run(h.name, func(t *testing.T) {
				t.Parallel()
				s, k := w.stock(t, "s-"+h.name), w.ours(t, "k-"+h.name)
				theirs, mine := s.attack(t, h, s.socket), k.attack(t, h, k.socket)
				s.unharmed(t)
				k.unharmed(t)
				mu.Lock()
				defer mu.Unlock()
				stock[h.name], ours[h.name] = theirs, mine
			})
		}
		t.Run("forward.sock", func(t *testing.T) {
			t.Parallel()
			a := w.ours(t, "f-bastion")
			all := a.attack(t, w.hops()[0], a.forward)
			a.unharmed(t)
			mu.Lock()
			defer mu.Unlock()
			viaForward["bastion"] = all
		})
	})
	if t.Failed() {
		return
	}
	var table strings.Builder
	table.WriteString("| who has the forwarded socket tries to | ssh-agent | keyway's agent |\n|---|---|---|\n")
	for i, try := range attempts {
		if via := viaForward["bastion"][i]; via != ours["bastion"][i] {
			t.Errorf("%s: %v through forward.sock, %v through agent.sock", try.what, via, ours["bastion"][i])
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", try.what, outcome(stock, i), outcome(ours, i))
	}
	keepTable(t, "attacks", table.String())
}

// outcome returns the result of an attempt, from all hops.
func outcome(from map[string]results, i int) string {
	var where []string
	for _, name := range anywhere {
		if from[name][i] {
			where = append(where, map[string]string{"bastion": "the bastion", "gpu1": "the GPU machine", train: "a workspace"}[name])
		}
	}
	switch len(where) {
	case 0:
		return "refused"
	case len(anywhere):
		return "works"
	}
	return "works from " + strings.Join(where, " and ")
}

var update = flag.Bool("update", false, "write the tables of docs/THREATS.md as they came out")

// keepTable checks that docs/THREATS.md has this table, or writes it there.
func keepTable(t *testing.T, name, table string) {
	t.Helper()
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->\n"
	path := filepath.Join("..", "..", "docs", "THREATS.md")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(data), begin)
	old, after, ok2 := strings.Cut(rest, end)
	switch {
	case !ok1 || !ok2:
		t.Fatalf("docs/THREATS.md has no place for the table %s", name)
	case old == table:
	case !*update:
		t.Errorf("docs/THREATS.md has another table; if this one is right, write it with go test ./test/agent -update:\n%s", table)
	default:
		if err := os.WriteFile(path, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
