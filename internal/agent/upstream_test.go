package agent

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/policy"
)

// proxying returns an agent of keyway's with the agent at the socket upstream.
func proxying(t *testing.T, upstream string, c Config) *running {
	t.Helper()
	c.Upstream = func() string { return upstream }
	return start(t, c)
}

func stockProgram(t *testing.T) string {
	t.Helper()
	stock, err := exec.LookPath("ssh-agent")
	if err != nil {
		t.Fatal(err)
	}
	return stock
}

func TestUpstreamKeysAreMerged(t *testing.T) {
	w := theWorld()
	theirs := startStock(t, stockProgram(t))
	dial(t, theirs).expect(t, "add upstream", addMessage(w.other, "theirs"), true)
	dial(t, theirs).expect(t, "add a key of both", addMessage(w.rsa, "both, theirs"), true)
	a := proxying(t, theirs, Config{})
	c := dial(t, a.local)
	c.expect(t, "add", addMessage(w.me, "ours"), true)
	c.expect(t, "add the key of both", addMessage(w.rsa, "both, ours"), true)
	want := string(w.me.public.Marshal()) + string(w.rsa.public.Marshal()) + string(w.other.public.Marshal())
	if got := strings.Join(listed(c.expect(t, "list", []byte{msgList}, true)), ""); got != want {
		t.Errorf("%d bytes of keys, want %d", len(got), len(want))
	}
	data := loginData(s1, "root", w.other.public, nil)
	answer := dial(t, a.local).expect(t, "sign without a list before", signMessage(w.other.public, data), true)
	var sig ssh.Signature
	if err := ssh.Unmarshal(answer[5:], &sig); err != nil {
		t.Fatal(err)
	}
	if err := w.other.public.Verify(data, &sig); err != nil {
		t.Error(err)
	}
	if e := a.log.last(); e.Upstream != theirs || e.Verdict != "allowed" || e.Comment != "theirs" {
		t.Errorf("%+v", e)
	}
	if answer := c.expect(t, "keys", join([]byte{msgExtension}, text(extKeys)), true); !strings.Contains(string(answer), `"upstream":"`+theirs) {
		t.Errorf("%s", answer)
	}
	c.expect(t, "remove upstream", removeMessage(w.other.public), true)
	c.expect(t, "sign with a removed key", signMessage(w.other.public, data), false)
	c.expect(t, "remove all", []byte{msgRemoveAll}, true)
	if n := len(listed(dial(t, theirs).expect(t, "list upstream", []byte{msgList}, true))); n != 0 {
		t.Errorf("the upstream still holds %d keys", n)
	}
}

// TestUpstreamIsUnderThePolicy checks that remote askers have no more rights to the upstream's keys
// than to the agent's own.
func TestUpstreamIsUnderThePolicy(t *testing.T) {
	w := theWorld()
	theirs := startStock(t, stockProgram(t))
	dial(t, theirs).expect(t, "add upstream", addMessage(w.me, "theirs"), true)
	a := proxying(t, theirs, Config{})
	toDB := a.bound(t, bindMessage(w.bastion, s1, true), bindMessage(w.db, s2, false))
	if n := len(listed(toDB.expect(t, "list", []byte{msgList}, true))); n != 0 {
		t.Errorf("%d keys for a host that the policy refuses", n)
	}
	toDB.expect(t, "login", loginMessage(s2, "root", w.me.public, w.db.public), false)
	far := a.bound(t, bindMessage(w.bastion, s1, true))
	for what, message := range map[string][]byte{
		"data": signMessage(w.me.public, []byte("x")), "git": signMessage(w.me.public, sshsigData("git")),
		"remove": removeMessage(w.me.public), "remove all": {msgRemoveAll},
	} {
		far.expect(t, what, message, false)
	}
	a.bound(t, bindMessage(w.second, s1, true), bindMessage(w.gpu, s2, false)).
		expect(t, "login at a workspace", loginMessage(s2, "root", w.me.public, nil), true)
	c := dial(t, a.local)
	c.expect(t, "lock", join([]byte{msgLock}, text("password")), true)
	if n := len(listed(c.expect(t, "list", []byte{msgList}, true))); n != 0 {
		t.Errorf("%d keys while locked", n)
	}
	c.expect(t, "sign while locked", loginMessage(s1, "root", w.me.public, nil), false)
	untrusted := dial(t, a.local)
	untrusted.expect(t, "junk", rawBind(w.gpu.public, s1, nil, false), false)
	if n := len(listed(untrusted.expect(t, "list", []byte{msgList}, true))); n != 0 {
		t.Errorf("%d keys on a connection that cannot be believed", n)
	}
}

// TestBindsAreRelayed checks that the upstream enforces the destinations of its keys: it gets the
// proved hosts of each connection separately.
func TestBindsAreRelayed(t *testing.T) {
	w := theWorld()
	theirs := startStock(t, stockProgram(t))
	toGPU := restrict(step{to: hopOf{name: "train", keys: []ssh.PublicKey{w.gpu.public}}})
	dial(t, theirs).expect(t, "add upstream", addMessage(w.me, "restricted", toGPU), true)
	a := proxying(t, theirs, Config{Policy: policy.OpenSSH})
	count := func(c *client) int { return len(listed(c.expect(t, "list", []byte{msgList}, true))) }
	gpu, db := a.bound(t, bindMessage(w.gpu, s1, false)), a.bound(t, bindMessage(w.db, s2, false))
	if n := count(gpu); n != 1 {
		t.Errorf("%d keys for its destination", n)
	}
	if n := count(db); n != 0 {
		t.Errorf("%d keys for another host", n)
	}
	db.expect(t, "login at another host", loginMessage(s2, "root", w.me.public, w.db.public), false)
	gpu.expect(t, "login at its destination", loginMessage(s1, "root", w.me.public, w.gpu.public), true)
	// A bind after the upstream was reached is relayed too.
	late := dial(t, a.local)
	if n := count(late); n != 1 {
		t.Errorf("%d keys before a bind", n)
	}
	late.expect(t, "bind", bindMessage(w.db, s3, false), true)
	if n := count(late); n != 0 {
		t.Errorf("%d keys after it", n)
	}
}

func TestUpstreamIsStartedAnew(t *testing.T) {
	w := theWorld()
	first := startStock(t, stockProgram(t))
	path := filepath.Join(filepath.Dir(first), "link")
	if err := os.Symlink(first, path); err != nil {
		t.Fatal(err)
	}
	dial(t, first).expect(t, "add upstream", addMessage(w.me, "theirs"), true)
	a := proxying(t, path, Config{})
	c := a.bound(t, bindMessage(w.gpu, s1, false))
	login := loginMessage(s1, "root", w.me.public, nil)
	c.expect(t, "login", login, true)
	second := startStock(t, stockProgram(t))
	os.Remove(path)
	c.expect(t, "on the connection that there is", login, true)
	other := dial(t, a.local)
	if n := len(listed(other.expect(t, "list", []byte{msgList}, true))); n != 0 {
		t.Errorf("%d keys of an agent that is gone", n)
	}
	if e := a.log.last(); e.Event != "upstream" || e.Verdict != "failed" {
		t.Errorf("%+v", e)
	}
	if err := os.Symlink(second, path); err != nil {
		t.Fatal(err)
	}
	dial(t, second).expect(t, "add to the new one", addMessage(w.me, "theirs"), true)
	if n := len(listed(other.expect(t, "list", []byte{msgList}, true))); n != 1 {
		t.Errorf("%d keys of the new one", n)
	}
	if e := a.log.last(); e.Event != "upstream" || !strings.Contains(e.Reason, "again") {
		t.Errorf("%+v", e)
	}
}

// TestUpstreamEndsMidway checks connections that are open while their upstream ends.
func TestUpstreamEndsMidway(t *testing.T) {
	w := theWorld()
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	run := func() *exec.Cmd {
		cmd := exec.Command(stockProgram(t), "-D", "-a", socket)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		await(t, func() bool {
			c, err := Dial(socket)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
		dial(t, socket).expect(t, "add upstream", addMessage(w.me, "theirs"), true)
		return cmd
	}
	cmd := run()
	a := proxying(t, socket, Config{})
	c := a.bound(t, bindMessage(w.gpu, s1, false))
	login := loginMessage(s1, "root", w.me.public, nil)
	c.expect(t, "login", login, true)
	for range 3 {
		cmd.Process.Kill()
		cmd.Wait()
		c.expect(t, "login while it is gone", login, false)
		os.Remove(socket)
		cmd = run()
		c.expect(t, "login when it is back", login, true)
		cmd.Process.Kill()
		cmd.Wait()
		os.Remove(socket)
		cmd = run()
		c.expect(t, "login across a restart", login, true)
	}
	cmd.Process.Kill()
	cmd.Wait()
}

func TestUpstreamIsNotOurself(t *testing.T) {
	var a *running
	a = start(t, Config{Upstream: func() string {
		if a == nil {
			return ""
		}
		return a.local
	}})
	dial(t, a.local).expect(t, "list", []byte{msgList}, true)
	if e := a.log.last(); !strings.Contains(e.Reason, "this agent itself") {
		t.Errorf("%+v", e)
	}
}

// gpgAgent returns a real gpg-agent. It asks for nothing, because its pinentry gives an empty
// passphrase.
func gpgAgent(t *testing.T) (socket string) {
	t.Helper()
	home, err := os.MkdirTemp("", "kwg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", home, "--kill", "gpg-agent").Run()
		os.RemoveAll(home)
	})
	pinentry := filepath.Join(home, "pinentry")
	script := "#!/bin/sh\necho OK\nwhile read -r line; do\n  case $line in BYE) exit;; esac\n  echo OK\ndone\n"
	if err := os.WriteFile(pinentry, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	// It listens when the first process returns; its own keeps the streams open.
	if err := exec.Command("gpg-agent", "--homedir", home, "--enable-ssh-support", "--pinentry-program", pinentry, "--daemon").Run(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("gpgconf", "--homedir", home, "--list-dirs", "agent-ssh-socket").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestGPGAgentUpstream(t *testing.T) {
	socket := gpgAgent(t)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "in gpg-agent")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	add := exec.Command("ssh-add", "-q", file)
	add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w := theWorld()
	key := newPair(private)
	a := proxying(t, socket, Config{})
	gpu := a.bound(t, bindMessage(w.gpu, s1, false))
	if n := len(listed(gpu.expect(t, "list", []byte{msgList}, true))); n != 1 {
		t.Fatalf("%d keys", n)
	}
	gpu.expect(t, "login", loginMessage(s1, "root", key.public, nil), true)
	gpu.expect(t, "login for another session", loginMessage(s2, "root", key.public, nil), false)
	forwarded := a.bound(t, bindMessage(w.bastion, s1, true))
	forwarded.expect(t, "data", signMessage(key.public, []byte("x")), false)
	var lines []string
	for _, e := range a.log.events {
		lines = append(lines, fmt.Sprint(e.Event, " ", e.Verdict, " ", e.Upstream == socket))
	}
	if got := strings.Join(lines, ", "); got != "sign allowed true, sign denied false, sign denied false" {
		t.Error(got)
	}
}

func FuzzUpstreamList(f *testing.F) {
	w := theWorld()
	f.Add(join([]byte{msgIdentities, 0, 0, 0, 1}, str(w.me.public.Marshal()), text("me")))
	f.Add([]byte{msgIdentities, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, answer []byte) {
		keys, err := parseList(answer, "upstream")
		if err != nil {
			return
		}
		for _, h := range keys {
			if h.key == nil || h.upstream == "" || len(h.key.Comment) > maxText || len(h.key.Blob) > len(answer) {
				t.Errorf("%+v", h)
			}
			judgeSign(route{}, h, content{purpose: policy.Data}, known{}, time.Time{})
		}
	})
}
