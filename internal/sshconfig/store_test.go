package sshconfig

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
)

var update = flag.Bool("update", false, "write the golden files again")

// Two fixed keys, so that golden files stay as they are.
const (
	keyA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB root@train"
	keyB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC"
)

func entry(name string) Entry {
	return Entry{Name: keyway.Name(name), Place: "gpu1", Engine: "docker", User: "root", HostKey: keyA,
		Created: time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)}
}

func testStore(t *testing.T) *Store {
	t.Helper()
	return Open(t.TempDir(), Client{Program: "/usr/local/bin/keyway", Agent: "/run/user/1000/keyway/agent.sock"})
}

func add(t *testing.T, s *Store, e Entry) {
	t.Helper()
	if err := s.Add(e); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, s *Store) string {
	t.Helper()
	entries, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, string(e.Place)+"/"+string(e.Name))
	}
	return strings.Join(out, " ")
}

// wantKind fails unless err is of that kind and names the next step.
func wantKind(t *testing.T, err error, kind keyway.Kind) *keyway.Error {
	t.Helper()
	if !keyway.Is(err, kind) {
		t.Fatalf("got %v, want kind %s", err, kind)
	}
	if keyway.AsError(err).Help() == "" {
		t.Errorf("%v: no next step", err)
	}
	return keyway.AsError(err)
}

func TestGolden(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir, Client{Program: "/opt/key way/100%/keyway", Agent: "/run/user/1000/keyway/agent.sock"})
	forwarding := entry("a.b_c-d")
	forwarding.ForwardAgent, forwarding.Place, forwarding.HostKey, forwarding.User = true, "local", keyB, "me@corp"
	add(t, s, entry("train"))
	add(t, s, forwarding)
	for _, name := range []string{"ssh_config", "known_hosts"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got = bytes.ReplaceAll(got, []byte(dir), []byte("/STATE"))
		golden := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from %s:\n%s", name, golden, got)
		}
	}
}

// TestNeverInConfig checks that settings that the design forbids never appear, in any form.
func TestNeverInConfig(t *testing.T) {
	s := testStore(t)
	add(t, s, entry("train"))
	data, err := os.ReadFile(s.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"RequestTTY", "StrictHostKeyChecking no", "/dev/null", "accept-new"} {
		if bytes.Contains(data, []byte(never)) {
			t.Errorf("the generated ssh_config has %q", never)
		}
	}
}

func TestAddListLookupRemove(t *testing.T) {
	s := testStore(t)
	add(t, s, entry("train"))
	add(t, s, entry("eval"))
	if got := names(t, s); got != "gpu1/eval gpu1/train" {
		t.Errorf("got %s", got)
	}
	for _, arg := range []string{"train", "gpu1/train"} {
		if e, err := s.Lookup(arg); err != nil || e.Name != "train" {
			t.Errorf("%s: %v, %v", arg, e, err)
		}
	}
	if e := wantKind(t, lookupErr(s, "trian"), keyway.NotFound); !strings.Contains(e.Help(), "train") {
		t.Errorf("no suggestion: %s", e.Help())
	}
	if e := wantKind(t, lookupErr(s, "lab/train"), keyway.NotFound); !strings.Contains(e.Help(), "gpu1/train") {
		t.Errorf("no suggestion: %s", e.Help())
	}
	wantKind(t, lookupErr(s, ""), keyway.NotFound)
	for _, bad := range []string{"/train", "gpu1/", "/"} {
		wantKind(t, lookupErr(s, bad), keyway.Usage)
	}
	for range 2 {
		if err := s.Remove("gpu1", "train"); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, s); got != "gpu1/eval" {
		t.Errorf("got %s", got)
	}
	for _, path := range []string{s.ConfigPath(), s.KnownHostsPath()} {
		data, err := os.ReadFile(path)
		if err != nil || bytes.Contains(data, []byte("train")) {
			t.Errorf("%s still has the removed workspace (%v):\n%s", path, err, data)
		}
	}
}

func lookupErr(s *Store, arg string) error {
	_, err := s.Lookup(arg)
	return err
}

func TestNameAtAnotherPlace(t *testing.T) {
	s := testStore(t)
	add(t, s, entry("train"))
	other := entry("train")
	other.Place = "lab"
	wantKind(t, s.Add(other), keyway.NameTaken)
	if got := names(t, s); got != "gpu1/train" {
		t.Errorf("a refused Add changed the registry: %s", got)
	}
}

func TestNameOfAPlace(t *testing.T) {
	s := testStore(t)
	wantKind(t, s.Add(entry("gpu1")), keyway.NameTaken)
	there := entry("train")
	there.Place = "me@lab"
	add(t, s, there)
	wantKind(t, s.Add(entry("lab")), keyway.NameTaken)
}

func TestHostKeyChanged(t *testing.T) {
	s := testStore(t)
	add(t, s, entry("train"))
	changed := entry("train")
	changed.HostKey = keyB
	e := wantKind(t, s.Add(changed), keyway.HostKeyChanged)
	for _, key := range []string{keyA, keyB} {
		if f := fingerprint(key); !strings.Contains(e.Message, f) {
			t.Errorf("%q does not name %s", e.Message, f)
		}
	}
	if got, _ := s.Lookup("train"); got.HostKey != keyA {
		t.Error("the pin was replaced")
	}
	sameWithComment := entry("train")
	sameWithComment.HostKey = keyA + " another comment"
	add(t, s, sameWithComment)
	if err := s.Remove("gpu1", "train"); err != nil {
		t.Fatal(err)
	}
	add(t, s, changed)
}

// TestPlaces checks that a place is known as long as a workspace there is.
func TestPlaces(t *testing.T) {
	s := testStore(t)
	places := func() string {
		got, err := s.Places()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(got)
	}
	lab := entry("else")
	lab.Place = "lab"
	for _, e := range []Entry{lab, entry("train"), entry("eval")} {
		add(t, s, e)
	}
	if places() != "[gpu1 lab]" {
		t.Error(places())
	}
	for _, step := range []struct {
		do   func() error
		left string
	}{
		{func() error { return s.Remove("gpu1", "train") }, "[gpu1 lab]"},
		{func() error { return s.Remove("gpu1", "eval") }, "[lab]"},
		{func() error { return s.ForgetPlace("lab") }, "[]"},
	} {
		if err := step.do(); err != nil || places() != step.left {
			t.Errorf("%s, want %s: %v", places(), step.left, err)
		}
	}
	if names(t, s) != "" {
		t.Error(names(t, s))
	}
}

// TestKeysTakenOnTrust checks that keys that an earlier keyway took on trust are read, that ssh
// checks them strictly, and that the agent, which reads known_hosts, does not take such a host for
// a workspace until it has proved its key.
func TestKeysTakenOnTrust(t *testing.T) {
	s := testStore(t)
	old := `{"version": 1, "places": ["gpu1", "empty"], "workspaces": [{"name": "my.old", "place": "gpu1", "engine": "docker",
		"user": "root", "hostKey": "` + keyA + `", "created": "2026-11-24T08:00:00Z", "added": "2026-11-24T08:00:00Z"}]}`
	if err := os.WriteFile(s.hostsPath(), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	read := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if got := read(s.KnownHostsPath()); got != "" {
		t.Errorf("the agent is given a key that has proved nothing: %s", got)
	}
	if got := read(s.unprovedPath()); !strings.HasPrefix(got, "my.old.keyway ssh-ed25519 ") {
		t.Errorf("ssh does not know the key: %q", got)
	}
	if got := read(s.ConfigPath()); !strings.Contains(got, `UserKnownHostsFile "`+s.KnownHostsPath()+`" "`+s.unprovedPath()+`"`) {
		t.Errorf("ssh reads: %s", got)
	}
	e, err := s.Lookup("my.old")
	if err != nil {
		t.Fatal(err)
	}
	other := e
	other.HostKey = keyB
	if err := s.Proved(other); err != nil || read(s.KnownHostsPath()) != "" {
		t.Errorf("another key proved it: %v", err)
	}
	if err := s.Proved(e); err != nil || !strings.HasPrefix(read(s.KnownHostsPath()), "my.old.keyway ") || read(s.unprovedPath()) != "" {
		t.Errorf("proved, and not known: %v", err)
	}
}

// TestHostileEntries checks that neither the login name nor the host key, which a workspace
// chooses, can add a line to the files.
func TestHostileEntries(t *testing.T) {
	s := testStore(t)
	for _, user := range []string{"", "root\n  ProxyCommand evil", "root evil", "-oProxyCommand=x", "%h", "$HOME", "ro\"ot", "roo\\", "a:b", strings.Repeat("u", 256)} {
		e := entry("train")
		e.User = user
		if err := s.Add(e); !keyway.Is(err, keyway.GuestFailed) {
			t.Errorf("user %q: %v", user, err)
		}
	}
	for _, key := range []string{"", "garbage", keyA + "\n* " + keyB, "cert-authority " + keyA, "ssh-ed25519 AAAA", strings.Repeat("A", 9000)} {
		e := entry("train")
		e.HostKey = key
		if err := s.Add(e); !keyway.Is(err, keyway.GuestFailed) {
			t.Errorf("host key %.40q: %v", key, err)
		}
	}
	if _, err := os.Stat(s.ConfigPath()); err == nil {
		t.Error("a refused entry was written")
	}
}

func TestBrokenRegistry(t *testing.T) {
	s := testStore(t)
	for _, content := range []string{"", "{", `{"version":99}`, `{"version":1,"workspaces":[{"name":"../x"}]}`, strings.Repeat(" ", maxHosts+1)} {
		if err := os.WriteFile(s.hostsPath(), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := s.List()
		wantKind(t, err, keyway.BadConfig)
		wantKind(t, s.Add(entry("train")), keyway.BadConfig)
	}
}

// TestSyncRepairs checks that the derived files are repaired after a crash between the write of the
// registry and theirs.
func TestSyncRepairs(t *testing.T) {
	s := testStore(t)
	add(t, s, entry("train"))
	want, err := os.ReadFile(s.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []func() error{
		func() error { return os.Remove(s.ConfigPath()) },
		func() error { return os.WriteFile(s.ConfigPath(), nil, 0o600) },
		func() error { return os.Remove(s.KnownHostsPath()) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(s.ConfigPath()); err != nil || !bytes.Equal(got, want) {
			t.Errorf("not repaired: %v", err)
		}
		if _, err := os.Stat(s.KnownHostsPath()); err != nil {
			t.Error(err)
		}
	}
}

// envWorker makes the test binary one of several processes that add workspaces
// at the same time.
const envWorker = "KEYWAY_TEST_ADD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envWorker); dir != "" {
		s := Open(dir, Client{Program: "/usr/local/bin/keyway"})
		for i := range 20 {
			if err := s.Add(entry(fmt.Sprintf("w%d-%d", os.Getpid(), i))); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestAddFromSeveralProcesses(t *testing.T) {
	s := testStore(t)
	const processes = 4
	var running []*exec.Cmd
	for range processes {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envWorker+"="+s.dir)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	entries, err := s.List()
	if err != nil || len(entries) != processes*20 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	config, err := os.ReadFile(s.ConfigPath())
	if err != nil || bytes.Count(config, []byte("\nHost ")) != processes*20 {
		t.Errorf("the ssh_config has %d hosts, %v", bytes.Count(config, []byte("\nHost ")), err)
	}
}

// TestKilledWriter checks that the files are complete after a kill at any moment.
func TestKilledWriter(t *testing.T) {
	s := testStore(t)
	for i := range 15 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envWorker+"="+s.dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 3 * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		if _, err := s.List(); err != nil {
			t.Fatal(err)
		}
	}
	add(t, s, entry("after"))
	entries, _ := s.List()
	config, err := os.ReadFile(s.ConfigPath())
	if err != nil || bytes.Count(config, []byte("\nHost ")) != len(entries) {
		t.Errorf("%d entries, %d hosts, %v", len(entries), bytes.Count(config, []byte("\nHost ")), err)
	}
}

func FuzzDecodeHosts(f *testing.F) {
	e := entry("train")
	data, err := hosts{Places: []keyway.Place{"gpu1"}, Workspaces: []Entry{e}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"workspaces":[{"name":"a","user":"x\ny"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := decodeHosts(data)
		if err != nil {
			return
		}
		config, err := renderConfig(h.Workspaces, Client{Program: "/k"}, "/s/known_hosts", "/s/unproved")
		if err != nil {
			t.Fatalf("what was accepted cannot be rendered: %v", err)
		}
		if got := bytes.Count(config, []byte("\nHost ")); got != len(h.Workspaces) {
			t.Errorf("%d hosts for %d workspaces:\n%s", got, len(h.Workspaces), config)
		}
	})
}

func FuzzParseHostKey(f *testing.F) {
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(ssh.MarshalAuthorizedKey(key)))
	f.Add(keyA)
	f.Add("command=\"x\" " + keyB)
	f.Fuzz(func(t *testing.T, line string) {
		if _, err := ParseHostKey(line); err != nil {
			return
		}
		e := entry("train")
		e.HostKey = line
		known := renderKnownHosts([]Entry{e}, false)
		for _, name := range []string{"train.keyway", "train"} {
			marker, hosts, key, _, rest, err := ssh.ParseKnownHosts(known)
			if err != nil || marker != "" || !slices.Equal(hosts, []string{name}) || !sameKey(line, string(ssh.MarshalAuthorizedKey(key))) {
				t.Errorf("%q became %q", line, known)
			}
			known = rest
		}
		if len(known) != 0 {
			t.Errorf("%q became more: %q", line, known)
		}
	})
}

// newKey returns the n-th of some fixed keys.
func newKey(t testing.TB, n byte) ed25519.PublicKey {
	t.Helper()
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
}
