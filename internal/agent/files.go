package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/audit"
	"keyway/internal/identity"
	"keyway/internal/sshwire"
)

// Bounds on the files beside keys.
const (
	maxCertFile  = 64 << 10 // bytes
	maxCertFiles = 256      // in one directory
	maxKeyFiles  = 256      // that are watched
	certSuffix   = "-cert.pub"
	goneLooks    = 2 // a file that is replaced may be absent for a moment
)

// files are polled: a look costs a few system calls, and also works on file systems without
// notifications.
type files struct {
	mu   sync.Mutex
	keys map[string]*keyFile    // by path: those that keyway unlock has named
	read map[string]os.FileInfo // certificates, as they were then
}

// keyFile is the file that a key came from.
type keyFile struct {
	Fingerprint string
	absent      int // looks in a row
}

// of returns the file of a key that is watched, or empty if none is.
func (f *files) of(fingerprint string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for path, k := range f.keys {
		if k.Fingerprint == fingerprint {
			return path
		}
	}
	return ""
}

// unchanged reports whether a file is as it was. Two that were written within a tick of
// the file system's clock differ by being two.
func unchanged(was, is os.FileInfo) bool {
	return was != nil && os.SameFile(was, is) && was.ModTime().Equal(is.ModTime()) && was.Size() == is.Size()
}

// readPublic reads a public key, or a certificate, in the form of OpenSSH's files.
func readPublic(path string) (ssh.PublicKey, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCertFile))
	if err != nil {
		return nil, "", err
	}
	key, comment, _, _, err := ssh.ParseAuthorizedKey(data)
	return key, comment, err
}

// watchFile reads the path of a key's file. When it goes, or is another key's, the
// agent forgets the key.
func (c *connection) watchFile(r *sshwire.Reader) (struct{}, error) {
	path := r.Text()
	if err := r.End(); err != nil {
		return struct{}{}, err
	}
	if !filepath.IsAbs(path) || len(path) > maxText {
		return struct{}{}, errors.New("a key's file needs its whole path")
	}
	key, _, err := readPublic(path + ".pub")
	if err != nil {
		return struct{}{}, err
	}
	f := &c.agent.files
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys == nil {
		f.keys = map[string]*keyFile{}
	}
	if len(f.keys) >= maxKeyFiles && f.keys[path] == nil {
		return struct{}{}, errors.New("too many files are watched")
	}
	f.keys[path] = &keyFile{Fingerprint: identity.Fingerprint(key)}
	return struct{}{}, nil
}

// lookAtFiles forgets keys whose files have gone, and takes certificates that are
// new.
func (a *Agent) lookAtFiles() {
	a.files.mu.Lock()
	defer a.files.mu.Unlock()
	if a.files.read == nil {
		a.files.read = map[string]os.FileInfo{}
	}
	dirs := map[string]bool{}
	for _, dir := range a.config.CertDirs {
		dirs[dir] = true
	}
	for path, f := range a.files.keys {
		dirs[filepath.Dir(path)] = true
		if why := f.gone(path); why != "" {
			delete(a.files.keys, path)
			a.forgetKey(f.Fingerprint, why)
		}
	}
	for dir := range dirs {
		a.lookAtCertificates(dir)
	}
}

// gone returns the reason for which the file does not belong to the key any more; empty if it
// does.
func (f *keyFile) gone(path string) string {
	if _, err := os.Stat(path); err != nil {
		if f.absent++; f.absent >= goneLooks {
			return path + " is gone"
		}
		return ""
	}
	f.absent = 0
	if key, _, err := readPublic(path + ".pub"); err == nil && identity.Fingerprint(key) != f.Fingerprint {
		return path + " is another key's now"
	}
	return ""
}

func (a *Agent) forgetKey(fingerprint, why string) {
	n, err := a.keys.remove(func(h *held) bool { return h.key.Fingerprint == fingerprint })
	if err == nil && n > 0 {
		a.note(audit.Event{Event: audit.Remove, Verdict: audit.Allowed, Reason: "forgotten: " + why, Request: audit.Request{Key: fingerprint}})
	}
}

// lookAtCertificates reads those that have changed since the last look. One that
// fits no key is looked at again when keys may have come.
func (a *Agent) lookAtCertificates(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	seen := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), certSuffix) {
			continue
		}
		if seen++; seen > maxCertFiles {
			return
		}
		path := filepath.Join(dir, e.Name())
		is, err := os.Stat(path)
		if err != nil || unchanged(a.files.read[path], is) {
			continue
		}
		if a.takeCertificate(path) {
			a.files.read[path] = is
		}
	}
}

// takeCertificate reports whether the certificate was taken. It returns false if the
// certificate's key is not here or the certificate cannot be used; it is then tried again.
func (a *Agent) takeCertificate(path string) bool {
	key, _, err := readPublic(path)
	if err != nil {
		return false
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok || checkCertificate(cert, time.Now()) != nil {
		return false
	}
	h, renewed := a.keys.renew(cert)
	if renewed {
		a.note(audit.Event{
			Event: audit.Renewal, Verdict: audit.Allowed, Reason: fmt.Sprintf("taken from %s, valid until %s", path, validUntil(cert)), Request: audit.Request{Key: h.key.Fingerprint, Comment: h.key.Comment},
		})
	}
	return h != nil
}

func validUntil(cert *ssh.Certificate) string {
	if cert.ValidBefore == ssh.CertTimeInfinity {
		return "for ever"
	}
	return time.Unix(int64(cert.ValidBefore), 0).UTC().Format(time.RFC3339)
}

// checkCertificate returns an error if no server would accept the certificate.
func checkCertificate(cert *ssh.Certificate, now time.Time) error {
	if cert.CertType != ssh.UserCert {
		return errors.New("it does not belong to a user")
	}
	principal := ""
	if len(cert.ValidPrincipals) > 0 {
		principal = cert.ValidPrincipals[0]
	}
	// The extensions and options are the server's to know.
	checker := ssh.CertChecker{Clock: func() time.Time { return now }, SupportedCriticalOptions: optionsOf(cert)}
	return checker.CheckCert(principal, cert)
}

func optionsOf(cert *ssh.Certificate) (names []string) {
	for name := range cert.CriticalOptions {
		names = append(names, name)
	}
	return names
}

// renew has the key of a certificate present it, in place of an earlier one by the same
// authority. It returns the key, or nil if the key is not here, and reports whether something
// changed.
func (k *keyring) renew(cert *ssh.Certificate) (*held, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expireLocked()
	fingerprint, blob := identity.Fingerprint(cert), cert.Marshal()
	var base, old *held
	at := -1
	for i, h := range k.keys {
		if h.key.Fingerprint != fingerprint {
			continue
		}
		if bytes.Equal(h.key.Blob, blob) {
			return h, false
		}
		base = h
		if c := h.key.Certificate(); c != nil && bytes.Equal(c.SignatureKey.Marshal(), cert.SignatureKey.Marshal()) {
			old, at = h, i
		}
	}
	if old != nil {
		base = old
		if old.key.Certificate().ValidBefore > cert.ValidBefore {
			return old, false
		}
	}
	if base == nil || k.locked || old == nil && len(k.keys) >= maxKeys {
		return nil, false
	}
	key, err := base.key.Copy(cert)
	if err != nil {
		return nil, false
	}
	h := *base
	h.key = key
	if old == nil {
		k.keys = append(k.keys, &h)
		return &h, true
	}
	old.forget()
	k.keys[at] = &h
	return &h, true
}
