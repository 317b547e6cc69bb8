//go:build unix

package hostnames

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"keyway/internal/policy"
	"keyway/internal/sshconfig"
	"keyway/test/knownhosts"
)

// TestHashedNames checks that a hashed name is found by every name in the configuration, the policy
// or another line, at every port that one of them has, and that the remaining hashed names are
// reported.
func TestHashedNames(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "known_hosts")
	config := sshconfig.Names{
		Lookups: map[string][]string{"prod-1": {"10.1.1.1"}, "prod-2": {"[prod-2.lab]:2222"}, "aliased": {"the-alias"}},
		Others:  []string{"canonical.lab"},
	}
	rules, err := policy.Parse([]byte("rules:\n  - {deny: any, to: [by-rule, 'prod-*']}\n"))
	if err != nil {
		t.Fatal(err)
	}
	keys, lines := map[string]ssh.PublicKey{}, []string{}
	for _, name := range []string{"10.1.1.1", "[prod-2.lab]:2222", "the-alias", "canonical.lab", "by-rule", "[by-rule]:2222", "gpu9", "nobody-knows"} {
		signer, line := knownhosts.NewKey(t)
		keys[name] = signer.PublicKey()
		lines = append(lines, name+" "+line)
	}
	both, bothLine := knownhosts.NewKey(t)
	knownhosts.WriteHashed(t, path, append(lines, "secret "+bothLine)...)
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("10.9.9.9 "+bothLine+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := &Names{
		files: []knownHostsFile{{path, ""}, {plain, ""}}, config: func() sshconfig.Names { return config },
		policy: func() *policy.Policy { return rules },
		places: func() (map[string]string, string) { return map[string]string{"train": "ada@gpu9"}, "" },
	}
	for name, want := range map[string][]string{
		"10.1.1.1": {"prod-1", "10.1.1.1"}, "[prod-2.lab]:2222": {"[prod-2.lab]:2222", "prod-2"}, "the-alias": {"the-alias", "aliased"},
		"canonical.lab": {"canonical.lab"}, "by-rule": {"by-rule"}, "[by-rule]:2222": {"[by-rule]:2222"}, "gpu9": {"gpu9"}, "nobody-knows": nil,
	} {
		h := n.lookup(keys[name])
		if !slices.Equal(h.Names, want) || h.Partial != (want == nil) {
			t.Errorf("%s: %+v", name, h)
		}
		named, ok := n.named(name)
		if !ok || named.Fingerprint != h.Fingerprint || !slices.Equal(named.Names, h.Names) || named.Partial != h.Partial {
			t.Errorf("%s: the agent has %+v, keyway policy explain %+v", name, h, named)
		}
	}
	if h := n.lookup(both.PublicKey()); !slices.Equal(h.Names, []string{"10.9.9.9"}) || !h.Partial {
		t.Errorf("%+v", h)
	}
	if h, ok := n.named("prod-1"); !ok || h.Fingerprint != ssh.FingerprintSHA256(keys["10.1.1.1"]) {
		t.Errorf("%+v", h)
	}
	if hashed, unknown := n.Hashed(); hashed != 9 || unknown != 2 {
		t.Errorf("%d are hashed, %d unknown", hashed, unknown)
	}
	// A changed policy has other names to try.
	if rules, err = policy.Parse([]byte("rules:\n  - {deny: any, to: nobody-knows}\n")); err != nil {
		t.Fatal(err)
	}
	if h := n.lookup(keys["nobody-knows"]); !slices.Equal(h.Names, []string{"nobody-knows"}) || h.Partial {
		t.Errorf("%+v", h)
	}
}

// TestNamesInWhatIsNotRead checks a name in an unreadable file, and one beyond the bound of a file.
// The first file is read as soon as possible, even if it does not change.
func TestNamesInWhatIsNotRead(t *testing.T) {
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, line := knownhosts.NewKey(t)
	write("theirs", "10.0.0.1 "+line+"\n")
	write("systems", "prod "+line+"\n")
	write(".ssh/config", "Host db\n  HostName 10.0.0.1\n")
	path := func(name string) string { return filepath.Join(home, name) }
	n := &Names{
		files:  []knownHostsFile{{path("theirs"), ""}, {path("systems"), ""}, {path("absent"), ""}, {path("theirs/none"), ""}, {home, ""}},
		config: func() sshconfig.Names { return sshconfig.ReadNames(home) },
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	unread := n.lookup(key.PublicKey())
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !unread.Partial {
		t.Errorf("without descriptors: %+v", unread)
	}
	if h := n.lookup(key.PublicKey()); !slices.Equal(h.Names, []string{"db", "10.0.0.1", "prod"}) || h.Partial {
		t.Errorf("afterwards: %+v", h)
	}
	write("systems", strings.Repeat("#", maxKnownHosts)+"\nprod "+line+"\n")
	if h := n.lookup(key.PublicKey()); !slices.Equal(h.Names, []string{"db", "10.0.0.1"}) || !h.Partial {
		t.Errorf("beyond the bound: %+v", h)
	}
	write("systems", "")
	if h := n.lookup(key.PublicKey()); h.Partial {
		t.Errorf("when nothing is beyond it: %+v", h)
	}
	write(".ssh/config", strings.Repeat("#", 1<<20)+"\nHost db\n  HostName 10.0.0.1\n")
	if h := n.lookup(key.PublicKey()); !slices.Equal(h.Names, []string{"10.0.0.1"}) || !h.Partial {
		t.Errorf("beyond the bound of the configuration: %+v", h)
	}
}
