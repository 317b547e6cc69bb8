// Package knownhosts makes host keys and known_hosts files for tests.
package knownhosts

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// NewKey makes a host key. line is its public half as a line of known_hosts has it, without the
// host.
func NewKey(t testing.TB) (key ssh.Signer, line string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err = ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey())))
}

// WriteHashed writes a known_hosts file as Debian's ssh does: ssh-keygen hashes each
// line.
func WriteHashed(t testing.TB, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ssh-keygen", "-H", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if data, err := os.ReadFile(path); err != nil || strings.Count(string(data), "|1|") != len(lines) {
		t.Fatalf("%v: %s", err, data)
	}
}
