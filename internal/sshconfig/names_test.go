//go:build unix

package sshconfig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
	"keyway/internal/policy"
)

// laptop is a home directory with a configuration and known hosts. The real ssh reads its
// configuration, by -F.
type laptop struct {
	t        *testing.T
	home     string
	store    *Store
	resolver resolver
}

func newLaptop(t *testing.T, config string) *laptop {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	l := &laptop{t: t, home: home, store: testStore(t)}
	l.write("config", config)
	l.resolver = resolver{options: []string{"-F", filepath.Join(home, ".ssh", "config"), "-o", "UserKnownHostsFile=" + filepath.Join(home, ".ssh", "known_hosts")}}
	return l
}

// write writes a file below ~/.ssh.
func (l *laptop) write(name, content string) string {
	l.t.Helper()
	path := filepath.Join(l.home, ".ssh", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

func (l *laptop) surroundings() *Surroundings {
	l.t.Helper()
	u, err := l.store.surroundings(l.t.Context(), l.resolver)
	if err != nil {
		l.t.Fatal(err)
	}
	return u
}

// hash has ssh-keygen hash the names in a known_hosts file.
func (l *laptop) hash(path string) {
	l.t.Helper()
	if out, err := exec.Command("ssh-keygen", "-H", "-f", path).CombinedOutput(); err != nil {
		l.t.Fatalf("ssh-keygen -H: %v\n%s", err, out)
	}
	os.Remove(path + ".old")
}

const crowdedConfig = `Include extra/*
Host alias
  HostName target
Host ported-alias
  HostName ported-target
  Port 2022
Host expanded
  HostName %h-really
Host keyed-alias
  HostKeyAlias the-key-of
Host gpu1
  HostName 10.0.0.7
  ProxyJump outer,ada@inner:2022
Host quiet
Match originalhost matched,other
  LogLevel ERROR
Host by-?
  Port 2200
Host keyed*
  IdentityFile ~/.ssh/id_of_%h
Host harmless*
  ServerAliveInterval 7
Host *
  User me
  ControlPath ~/.ssh/%r@%h
  UserKnownHostsFile ~/.ssh/known_hosts ~/.ssh/more_hosts
`

// TestNamesThatAreTaken checks that a name that already has a meaning on this laptop, in any way,
// is refused for a workspace.
func TestNamesThatAreTaken(t *testing.T) {
	l := newLaptop(t, crowdedConfig)
	l.write("extra/one", "Host included\n  UserKnownHostsFile ~/.ssh/of_one\n")
	key := keyA + "\n"
	l.write("known_hosts", "plainly "+key+"[ported]:2022 "+key+"[10.0.0.3]:40022 "+key+"first,second "+key+"!not-me,pat-* "+key+"* "+key+"@cert-authority certified "+key)
	l.hash(l.write("more_hosts", "hashed "+key+"[hashed-port]:2222 "+key+"[odd-port]:40022 "+key))
	l.write("of_one", "of-one "+key)
	add(t, l.store, entry("train"))
	l.resolver.hosts = l.write("hosts", "127.0.0.1\tlocalhost loopback\n10.0.0.5 db.lab\tDB # the-database\n#10.0.0.6 gone\n")
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	own, _, _ = strings.Cut(strings.ToLower(own), ".")
	u := l.surroundings()
	for _, name := range []keyway.Name{
		"alias", "target", "ported-alias", "ported-target", "the-key-of", "expanded-really", "db", "loopback", keyway.Name(own),
		"gpu1", "quiet", "matched", "other", "by-x", "keyed1", "included", "outer", "inner",
		"plainly", "ported", "first", "second", "pat-1", "certified", "hashed", "hashed-port", "odd-port", "of-one",
		"train", "local", "localhost",
	} {
		err := u.CheckName(t.Context(), name)
		if !keyway.Is(err, keyway.NameTaken) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if e := wantKind(t, err, keyway.NameTaken); !strings.Contains(e.Message, string(name)) {
			t.Errorf("%s: %s", name, e.Message)
		}
	}
	for _, name := range []keyway.Name{"free", "harmless1", "not-me", "plainly2", "by-xx", "gone", "the-database", "x7", "7x", "0y", "xn--bcher-kva"} {
		if err := u.CheckName(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []keyway.Name{"github.com", "a.b", "x.", "", "Train", "-x", "a b", "a\nb", "7", "2130706433", "0x7f000001", "0x", "017700000001",
		"bücher", "%h", "~", "*", "tr?in", "!train", "a,b", "[a]", "a@b", "ssh://a", "a/b", "a:22", "\u202eniart", "GPU1", "\x1b[31m"} {
		if err := u.CheckName(t.Context(), name); !keyway.Is(err, keyway.Usage) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestKeysOfOthers checks that a key that this laptop knows under another name is not accepted for
// a workspace.
func TestKeysOfOthers(t *testing.T) {
	l := newLaptop(t, "Host db\n  HostName 10.0.0.9\n")
	hostKey := func(n int) string {
		key, err := ssh.NewPublicKey(newKey(t, byte(n)))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	}
	l.write("known_hosts", "prod.lab,10.0.0.8 "+hostKey(1)+" comment\n[bastion]:2222 "+hostKey(2)+"\n@revoked * "+hostKey(3)+"\n@cert-authority *.lab "+hostKey(4)+"\n")
	l.hash(l.write("known_hosts2", "db "+hostKey(5)+"\nunknown.example "+hostKey(6)+"\n"))
	mine := entry("train")
	mine.HostKey = hostKey(7)
	add(t, l.store, mine)
	u := l.surroundings()
	for n, owner := range map[int]string{
		1: "prod.lab", 2: "[bastion]:2222", 3: "*", 4: "*.lab", 5: "db", 6: "hashed", 7: "train",
	} {
		e := wantKind(t, u.CheckKey("gpu1", "new", hostKey(n)), keyway.Untrusted)
		for _, say := range []string{"new", owner, "SHA256:"} {
			if !strings.Contains(e.Message, say) {
				t.Errorf("key %d: %q does not name %s", n, e.Message, say)
			}
		}
	}
	if err := u.CheckKey("gpu1", "new", hostKey(8)); err != nil {
		t.Error(err)
	}
	if err := u.CheckKey("gpu1", "train", hostKey(7)); err != nil {
		t.Errorf("its own: %v", err)
	}
	// A client that does not use keyway's known_hosts has recorded the workspace itself.
	l.write("known_hosts", "train "+hostKey(7)+"\n@revoked * "+hostKey(3)+"\n")
	if err := l.surroundings().CheckKey("gpu1", "train", hostKey(7)); err != nil {
		t.Errorf("its own, in known_hosts: %v", err)
	}
	// A revoked key, or the key of an authority, is no host's key even under the workspace's own
	// name.
	l.write("known_hosts", "@revoked train "+hostKey(8)+"\n@cert-authority train "+hostKey(4)+"\n")
	for _, n := range []int{4, 8} {
		wantKind(t, l.surroundings().CheckKey("gpu1", "train", hostKey(n)), keyway.Untrusted)
	}
	wantKind(t, u.CheckKey("gpu2", "train", hostKey(7)), keyway.Untrusted)
	if err := u.CheckKey("gpu1", "new", "nonsense"); !keyway.Is(err, keyway.Untrusted) {
		t.Error(err)
	}
}

// TestKnownHostsTooLarge checks that a known_hosts that is too large to be read does not count as
// empty.
func TestKnownHostsTooLarge(t *testing.T) {
	l := newLaptop(t, "")
	path := l.write("known_hosts", "x "+keyA+"\n")
	if err := os.Truncate(path, maxKnownHosts+1); err != nil {
		t.Fatal(err)
	}
	_, err := l.store.surroundings(t.Context(), l.resolver)
	wantKind(t, err, keyway.BadConfig)
}

// TestMatchPattern compares the matching of patterns with OpenSSH.
func TestMatchPattern(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	for _, pattern := range []string{"*", "a*", "*a", "a*b*c", "?", "??", "a?c", "*?*", "abc", "a**c", "*b*"} {
		if err := os.WriteFile(file, fmt.Appendf(nil, "Host %s\n  HostName matched\n", pattern), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{"a", "abc", "ac", "abbc", "ab", "xbx", "abcabc"} {
			want := sshG(t, file, s)["hostname"] == "matched"
			if got := policy.Match(pattern, s); got != want {
				t.Errorf("%s, %s: %v", pattern, s, got)
			}
		}
	}
}

func FuzzParseKnownLine(f *testing.F) {
	for _, s := range []string{"a,b " + keyA, "|1|c2FsdA==|aGFzaA== " + keyB, "@revoked * " + keyA, "[x]:22 y z", "# x y z", "!a,*b k v", "|1||", "@x"} {
		f.Add(s, "train")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		l, ok := parseKnownLine(text)
		if !ok {
			return
		}
		l.names(name, usualPorts)
		if owner := l.owner([]string{name}, usualPorts); strings.ContainsAny(owner, "\x1b\r\n\x00") {
			t.Errorf("%q is shown as %q", text, owner)
		}
	})
}
