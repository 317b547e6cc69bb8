package hostnames

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/crypto/ssh"

	"keyway/internal/policy"
	"keyway/test/knownhosts"
)

func TestNamesOfHostKeys(t *testing.T) {
	dir := t.TempDir()
	mine, theirs := filepath.Join(dir, "mine"), filepath.Join(dir, "theirs")
	train, trainLine := knownhosts.NewKey(t)
	db, dbLine := knownhosts.NewKey(t)
	ca, caLine := knownhosts.NewKey(t)
	gone, goneLine := knownhosts.NewKey(t)
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
	// A removed workspace does not count as one from that moment on.
	write(mine, "")
	if h := n.lookup(train.PublicKey()); h.Names != nil || h.Groups != nil {
		t.Errorf("%+v", h)
	}
}
