package laptop

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/policy"
)

func TestForwardedReach(t *testing.T) {
	known := func(name string, groups ...string) policy.Host {
		return policy.Host{Fingerprint: "SHA256:" + name, Names: []string{name}, Groups: groups}
	}
	hosts := []policy.Host{known("db"), known("github.com", policy.GroupGit), known("lab"), known("train", policy.GroupWorkspaces)}
	rules, err := policy.Parse([]byte("rules:\n  - allow: login\n    from: lab\n    to: db\n  - deny: login\n    key: secret\n"))
	if err != nil {
		t.Fatal(err)
	}
	for comment, want := range map[string][]string{
		"me":     {"forwarded through db, github.com, any other host: nowhere unasked", "forwarded through lab: to db", "forwarded through train: to github.com, train"},
		"secret": {"forwarded through db, github.com, train, any other host: nowhere unasked", "forwarded through lab: to db"},
	} {
		if got := Forwarded(rules, hosts, policy.Key{Comment: comment}, time.Now()); !slices.Equal(got, want) {
			t.Errorf("%s: %q", comment, got)
		}
	}
	all := Forwarded(policy.Standard(), hosts, policy.Key{}, time.Now())
	if want := []string{"forwarded through db, github.com, lab, any other host: nowhere unasked", "forwarded through train: to github.com, train"}; !slices.Equal(all, want) {
		t.Errorf("%q", all)
	}
}

func newHostKey(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey())))
}

func TestNamesOfHostKeys(t *testing.T) {
	dir := t.TempDir()
	mine, theirs := filepath.Join(dir, "mine"), filepath.Join(dir, "theirs")
	train, trainLine := newHostKey(t)
	db, dbLine := newHostKey(t)
	ca, caLine := newHostKey(t)
	gone, goneLine := newHostKey(t)
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(mine, "train.keyway "+trainLine+"\n")
	write(theirs, "# a comment\nnonsense\n|1|aGFzaA==|aGFzaA== "+dbLine+"\ndb.lab,10.0.0.1 "+dbLine+"\n@cert-authority *.lab "+caLine+"\n@revoked gone.lab "+goneLine+"\n")
	n := &Names{files: []knownHostsFile{{mine, policy.GroupWorkspaces}, {theirs, ""}, {filepath.Join(dir, "absent"), ""}}}
	if h := n.lookup(train.PublicKey()); !slices.Equal(h.Names, []string{"train"}) || !slices.Equal(h.Groups, []string{policy.GroupWorkspaces}) {
		t.Errorf("%+v", h)
	}
	if h := n.lookup(db.PublicKey()); !slices.Equal(h.Names, []string{"db.lab", "10.0.0.1"}) || h.Groups != nil {
		t.Errorf("%+v", h)
	}
	if h := n.lookup(gone.PublicKey()); h.Names != nil {
		t.Errorf("a revoked key has a name: %+v", h)
	}
	cert := &ssh.Certificate{Key: gone.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{"gpu.lab", "gpu.elsewhere"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	if h := n.lookup(cert); !slices.Equal(h.Names, []string{"gpu.lab"}) {
		t.Errorf("%+v", h)
	}
	// A workspace that goes is no workspace any more, from that moment on.
	write(mine, "")
	if h := n.lookup(train.PublicKey()); h.Names != nil || h.Groups != nil {
		t.Errorf("%+v", h)
	}
}
