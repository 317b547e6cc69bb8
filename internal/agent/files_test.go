package agent

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/sshwire"
)

// userCert returns a certificate of the user for the key, valid for d from now.
func userCert(t *testing.T, key, ca pair, serial uint64, d time.Duration) *ssh.Certificate {
	t.Helper()
	cert := &ssh.Certificate{
		Key: key.public, Serial: serial, CertType: ssh.UserCert, ValidPrincipals: []string{"me", "root"},
		ValidAfter: uint64(time.Now().Add(-time.Hour).Unix()), ValidBefore: uint64(time.Now().Add(d).Unix()),
		Permissions: ssh.Permissions{CriticalOptions: map[string]string{"source-address": "10.0.0.0/8"}},
	}
	if err := cert.SignCert(rand.Reader, ca.signer); err != nil {
		t.Fatal(err)
	}
	return cert
}

func writeKey(t *testing.T, path string, key ssh.PublicKey) {
	t.Helper()
	if err := os.WriteFile(path+".new", ssh.MarshalAuthorizedKey(key), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// serials returns the numbers of the certificates that the agent shows, 0 for a plain key.
func serials(t *testing.T, c *client) (all []uint64) {
	t.Helper()
	for _, blob := range listed(c.expect(t, "list", []byte{msgList}, true)) {
		key, err := ssh.ParsePublicKey([]byte(blob))
		if err != nil {
			t.Fatal(err)
		}
		if cert, ok := key.(*ssh.Certificate); ok {
			all = append(all, cert.Serial)
		} else {
			all = append(all, 0)
		}
	}
	return all
}

func sameNumbers(a []uint64, b ...uint64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestCertificatesAreRenewed(t *testing.T) {
	w := theWorld()
	dir := t.TempDir()
	a := start(t, Config{CertDirs: []string{dir}})
	c := dial(t, a.local)
	path := filepath.Join(dir, "id-cert.pub")
	look := func(what string, want ...uint64) {
		t.Helper()
		a.lookAtFiles()
		if got := serials(t, c); !sameNumbers(got, want...) {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	first := userCert(t, w.me, w.ca, 1, time.Hour)
	writeKey(t, path, first)
	look("no key is here")
	c.expect(t, "add", addMessage(w.me, "me", lifetime(1000), []byte{constrainConfirm}), true)
	look("a certificate that lay there before", 0, 1)
	writeKey(t, path, userCert(t, w.me, w.ca, 2, 2*time.Hour))
	look("renewed", 0, 2)
	writeKey(t, path, userCert(t, w.me, w.ca, 3, time.Minute))
	look("an earlier one", 0, 2)
	writeKey(t, path, userCert(t, w.me, w.ca, 4, -time.Minute))
	look("an expired one", 0, 2)
	writeKey(t, path, userCert(t, w.other, w.ca, 5, time.Hour))
	look("another key's", 0, 2)
	forged := userCert(t, w.me, w.ca, 6, 3*time.Hour)
	forged.ValidPrincipals = []string{"admin"}
	writeKey(t, path, forged)
	look("one whose signature does not verify", 0, 2)
	host := userCert(t, w.me, w.ca, 7, 3*time.Hour)
	host.CertType = ssh.HostCert
	if err := host.SignCert(rand.Reader, w.ca.signer); err != nil {
		t.Fatal(err)
	}
	writeKey(t, path, host)
	look("a host's", 0, 2)
	if err := os.WriteFile(path, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	look("nonsense", 0, 2)
	writeKey(t, filepath.Join(dir, "second-cert.pub"), userCert(t, w.me, w.db, 8, time.Hour))
	look("of another authority", 0, 2, 8)
	if e := a.log.last(); e.Event != "list" && !strings.Contains(e.Reason, "second-cert.pub") {
		t.Errorf("%+v", e)
	}
	for _, h := range a.keys.all() {
		if !h.confirm || h.dies == 0 {
			t.Errorf("%s lost what was put on the key", h.key.Comment)
		}
	}
}

// TestRenewedCertificateSigns checks that a renewed certificate signs, also after the key of the
// certificate before it was removed, and after a handover.
func TestRenewedCertificateSigns(t *testing.T) {
	w := theWorld()
	for name, p := range map[string]pair{"Ed25519": w.me, "RSA": w.rsa} {
		dir := t.TempDir()
		h, local, _ := newHandedOver(t, Config{CertDirs: []string{dir}})
		c := dial(t, local)
		c.expect(t, "add", addMessage(p, "me"), true)
		cert := userCert(t, p, w.ca, 1, time.Hour)
		writeKey(t, filepath.Join(dir, "x-cert.pub"), cert)
		h.lookAtFiles()
		c.expect(t, "remove the plain key", removeMessage(p.public), true)
		h = h.next(t)
		next := userCert(t, p, w.ca, 2, 2*time.Hour)
		writeKey(t, filepath.Join(dir, "x-cert.pub"), next)
		h.lookAtFiles()
		h = h.next(t)
		data := loginData(s1, "me", next, nil)
		answer := c.expect(t, name, signMessage(next, data), true)
		var sig ssh.Signature
		if err := ssh.Unmarshal(sshwire.NewReader(answer[1:]).String(), &sig); err != nil {
			t.Fatal(err)
		}
		if err := p.public.Verify(data, &sig); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c.expect(t, "the certificate before", signMessage(cert, data), false)
		h.stop()
		h.done.Wait()
		h.Forget("the test ended")
	}
}

// TestKeyFilesAreWatched checks that a key whose file goes, or becomes another key's, is forgotten.
func TestKeyFilesAreWatched(t *testing.T) {
	w := theWorld()
	dir := t.TempDir()
	a := start(t, Config{})
	c := dial(t, a.local)
	watch := func(path string) []byte { return join([]byte{msgExtension}, text(extWatch), text(path)) }
	put := func(name string, key pair) string {
		path := filepath.Join(dir, name)
		writeKey(t, path+".pub", key.public)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		c.expect(t, "add", addMessage(key, name), true)
		return path
	}
	first, second := put("first", w.me), put("second", w.other)
	c.expect(t, "watch", watch(first), true)
	c.expect(t, "watch", watch(second), true)
	c.expect(t, "no public half", watch(filepath.Join(dir, "none")), false)
	c.expect(t, "a relative path", watch("first"), false)
	a.bound(t, bindMessage(w.bastion, s1, true)).expect(t, "from far away", watch(first), false)
	count := func() int { return len(listed(c.expect(t, "list", []byte{msgList}, true))) }
	a.lookAtFiles()
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	a.lookAtFiles()
	if n := count(); n != 2 {
		t.Errorf("%d keys: a file that is replaced is absent for a moment", n)
	}
	a.lookAtFiles()
	if n := count(); n != 1 {
		t.Errorf("%d keys after the file has gone", n)
	}
	writeKey(t, second+".pub", w.rsa.public)
	a.lookAtFiles()
	if n := count(); n != 0 {
		t.Errorf("%d keys after the file is another's", n)
	}
	if e := a.log.last(); !strings.Contains(e.Reason, "is another key's now") {
		t.Errorf("%+v", e)
	}
}

func FuzzReadPublic(f *testing.F) {
	w := theWorld()
	f.Add(ssh.MarshalAuthorizedKey(w.me.public))
	f.Add([]byte("ssh-ed25519-cert-v01@openssh.com AAAA\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "x-cert.pub")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		a := New(Config{CertDirs: []string{dir}})
		a.lookAtFiles()
		if len(a.keys.keys) != 0 {
			t.Error("a file has become a key")
		}
	})
}
