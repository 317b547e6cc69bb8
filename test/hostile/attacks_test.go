//go:build linux

package hostile

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// wants fails unless r has the exit code, and its output has all the texts.
func wants(t *testing.T, r result, code int, says ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("%s\nwant exit code %d", r, code)
	}
	for _, text := range says {
		if !strings.Contains(r.stdout+r.stderr, text) {
			t.Errorf("%s\ndoes not say %q", r, text)
		}
	}
}

// TestNamesOfHosts checks a place that gives its workspaces the names of the user's hosts and
// requests the agent: commands that read change nothing, and keyway add refuses these workspaces.
func TestNamesOfHosts(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	g := l.startGuest()
	l.up("train", g)
	l.write(".ssh/known_hosts", "prod ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\n")
	if out, err := exec.Command("ssh-keygen", "-H", "-f", l.path(".ssh/known_hosts")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	names := []string{"github.com", "bastion", gpu1, "prod", "localhost", "git.lab"}
	all := []keyway.Workspace{workspace("train", g)}
	for _, name := range names {
		w := workspace(name, g)
		w.ForwardAgent = true
		all = append(all, w)
	}
	l.says(gpu1, fileList, listing(all...))
	before := l.files()
	wants(t, l.keyway("ls"), 0, "keyway add gpu1/github.com")
	l.keyway("ls", "--json")
	l.keyway("status")
	l.keyway("status", gpu1)
	for _, name := range names {
		r := l.keyway("add", gpu1+"/"+name, "--yes")
		if r.code != keyway.ExitCode(keyway.Errorf(keyway.NameTaken, "")) && r.code != keyway.ExitCode(keyway.Errorf(keyway.Usage, "")) {
			t.Errorf("%s\nwas not refused", r)
		}
		if r := l.keyway("up", "--on", gpu1, "--name", name); r.code == 0 {
			t.Errorf("%s\nwas not refused", r)
		}
	}
	l.unchanged(before, l.keyway("ls", "-a"))
}

// TestAnotherHostsKey checks that the key of another host, which a place gives as a workspace's, is
// not pinned, whether or not the laptop knows that host, and whether or not the place leads to it.
func TestAnotherHostsKey(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	db, other, mine := l.startSSHD(), l.startGuest(), l.startGuest()
	l.up("train", mine)
	for what, c := range map[string]struct {
		knows string // line of known_hosts
		leads *guest
		key   *guest
		code  keyway.Kind
		says  []string
	}{
		"a host in known_hosts":            {"db.lab " + db.public(), other, db, keyway.Untrusted, []string{"db.lab", "new"}},
		"a host at a port":                 {"[bastion]:2222 " + db.public(), db, db, keyway.Untrusted, []string{"[bastion]:2222", "new"}},
		"a host that is not known":         {"", other, db, keyway.Untrusted, []string{"does not hold"}},
		"a host to which the place relays": {"", db, db, keyway.VersionMismatch, []string{"cannot prove"}},
		"another workspace":                {"", mine, mine, keyway.Untrusted, []string{"train", "new"}},
	} {
		l.write(".ssh/known_hosts", c.knows+"\n")
		l.says(gpu1, fileGuest, c.leads.socket)
		l.says(gpu1, fileList, listing(workspace("train", mine), workspace("new", c.key)))
		l.says(gpu1, fileCreate, created(workspace("new", c.key)))
		before := l.files()
		code := keyway.ExitCode(keyway.Errorf(c.code, ""))
		for _, args := range [][]string{{"add", "gpu1/new", "--yes"}, {"up", "--on", gpu1, "--name", "new"}} {
			r := l.keyway(args...)
			wants(t, r, code, c.says...)
			l.unchanged(before, r)
		}
		l.unchanged(before, l.keyway("ls"))
		if t.Failed() {
			t.Fatal(what)
		}
	}
}

// TestVanishAndReturn checks a workspace that is missing in one list, and returns in the next with
// another key and a request for the agent.
func TestVanishAndReturn(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	mine, theirs := l.startGuest(), l.startGuest()
	l.up("train", mine)
	before := l.files()
	l.says(gpu1, fileList, listing())
	r := l.keyway("ls")
	wants(t, r, 0, "train", "unknown", "keyway forget gpu1/train")
	l.unchanged(before, r)

	back := workspace("train", theirs)
	back.ForwardAgent = true
	l.says(gpu1, fileList, listing(back))
	l.says(gpu1, fileGuest, theirs.socket)
	l.says(gpu1, fileCreate, created(back))
	changed := keyway.ExitCode(keyway.Errorf(keyway.HostKeyChanged, ""))
	wants(t, l.keyway("ls"), changed, "SHA256:", "keyway forget gpu1/train")
	wants(t, l.keyway("add", "gpu1/train", "--yes"), changed, "SHA256:")
	r = l.keyway("up", "--on", gpu1, "--name", "train")
	wants(t, r, keyway.ExitCode(keyway.Errorf(keyway.NameTaken, "")), "keyway rm gpu1/train", "keyway forget gpu1/train")
	l.unchanged(before, r)

	wants(t, l.keyway("forget", "train"), 0)
	wants(t, l.keyway("add", "gpu1/train", "--yes"), 0, "not forwarded")
	if e := l.entries()["train"]; e.HostKey != theirs.public() || e.ForwardAgent {
		t.Errorf("added: %+v", e)
	}
}

// TestUpAnsweredWithAnother checks a place that answers a request for one workspace with another
// one.
func TestUpAnsweredWithAnother(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	mine, theirs := l.startGuest(), l.startGuest()
	l.up("train", mine)
	l.says(gpu1, fileGuest, theirs.socket)
	before := l.files()
	for what, c := range map[string]struct {
		args   []string
		answer func(*keyway.Workspace)
		says   []string
	}{
		"the name of another workspace": {nil, func(w *keyway.Workspace) { w.Name = "train" }, []string{"new", "train"}},
		"the name of a host":            {nil, func(w *keyway.Workspace) { w.Name = "github.com" }, []string{"new", "github.com"}},
		"another engine":                {[]string{"--engine", "podman"}, func(w *keyway.Workspace) {}, []string{"podman", "docker"}},
		"the agent":                     {nil, func(w *keyway.Workspace) { w.ForwardAgent = true }, []string{"off", "on"}},
		"another user":                  {[]string{"--user", "ada"}, func(w *keyway.Workspace) {}, []string{"ada", "root"}},
		"another uid":                   {[]string{"--user", "1000:100"}, func(w *keyway.Workspace) { w.Guest.UID = 0 }, []string{"1000", "0"}},
		"a user of two lines":           {nil, func(w *keyway.Workspace) { w.Guest.User = "root\n  ProxyCommand evil" }, []string{"login name"}},
		"a user that is an option":      {nil, func(w *keyway.Workspace) { w.Guest.User = "-oProxyCommand=evil" }, []string{"login name"}},
	} {
		w := workspace("new", theirs)
		c.answer(&w)
		l.says(gpu1, fileCreate, created(w))
		r := l.keyway(append([]string{"up", "--on", gpu1, "--name", "new"}, c.args...)...)
		if r.code == 0 {
			t.Errorf("%s: %s\nwas believed", what, r)
		}
		wants(t, r, r.code, c.says...)
		l.unchanged(before, r)
	}
}

// TestManyWorkspaces checks that six hundred workspaces that no user has made cost one list, and
// leave room for those that a user makes.
func TestManyWorkspaces(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	g := l.startGuest()
	l.up("train", g)
	all := []keyway.Workspace{workspace("train", g)}
	for n := range 6000 {
		w := workspace(fmt.Sprintf("w%d", n), g)
		all = append(all, w)
	}
	before := l.files()
	for _, n := range []int{601, len(all)} {
		l.says(gpu1, fileList, listing(all[:n]...))
		begun := time.Now()
		r := l.keyway("ls")
		t.Logf("a list of %d: %v", n, time.Since(begun))
		wants(t, r, keyway.ExitCode(keyway.Errorf(keyway.Untrusted, "")), "train", "keyway add gpu1/w1", "more")
		if rows := strings.Count(r.stdout, "\n"); rows > 600 {
			t.Errorf("a list of %d lines", rows)
		}
		l.unchanged(before, r)
	}
	l.up("mine", l.startGuest())
}

// TestSlowPlace checks that a slow place does not delay the answers of others, and that ls fails if
// a place cannot be asked.
func TestSlowPlace(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	g, other := l.startGuest(), l.startGuest()
	l.up("train", g)
	l.says("slow", fileGuest, other.socket)
	l.says("slow", fileCreate, created(workspace("late", other)))
	wants(t, l.keyway("up", "--on", "slow", "--name", "late"), 0)
	l.says(gpu1, fileList, listing(workspace("train", g)))
	l.says("slow", fileList, listing(workspace("late", other)))
	wants(t, l.keyway("link", "stop"), 0)
	l.says("slow", fileHang, "")
	cmd := exec.Command(program, "ls")
	cmd.Env = l.env
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	heard := make([]byte, 4096)
	n := 0
	for !strings.Contains(string(heard[:n]), "train") { // ends with the command, which gives a place 30 s
		more, err := out.Read(heard[n:])
		if n += more; err != nil {
			break
		}
	}
	if said := string(heard[:n]); !strings.Contains(said, "train") || strings.Contains(said, "late") {
		t.Errorf("while a place hangs: %q", said)
	}
	if err := os.Remove(l.path("places/slow/" + fileHang)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		var more int
		more, err = out.Read(heard[n:])
		n += more
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(string(heard[:n]), "late") {
		t.Errorf("%v: %s", err, heard[:n])
	}
}
