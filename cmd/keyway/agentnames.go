package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"keyway/internal/policy"
)

// hostKeyNames are the names of hosts by the fingerprints of their keys, from
// known_hosts files that are read anew when they change.
type hostKeyNames struct {
	files []knownHostsFile

	mu          sync.Mutex
	stamps      string
	hosts       map[string]policy.Host
	authorities map[string][]string // fingerprint → patterns of names
}

type knownHostsFile struct {
	path  string
	group string
}

// maxKnownHosts bounds a known_hosts file in bytes.
const maxKnownHosts = 8 << 20

// knownHostNames tells what the user calls the host with a key.
func knownHostNames() func(ssh.PublicKey) policy.Host {
	return (&hostKeyNames{files: knownHostsFiles()}).lookup
}

// knownHostsFiles are keyway's own, the user's and the system's.
func knownHostsFiles() (files []knownHostsFile) {
	if path, err := statePath("known_hosts"); err == nil {
		files = append(files, knownHostsFile{path, policy.GroupWorkspaces})
	}
	if home, err := os.UserHomeDir(); err == nil {
		files = append(files, knownHostsFile{filepath.Join(home, ".ssh", "known_hosts"), ""})
	}
	return append(files, knownHostsFile{"/etc/ssh/ssh_known_hosts", ""})
}

// named is the host of that name.
func (n *hostKeyNames) named(name string) (policy.Host, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refreshLocked()
	for fingerprint, h := range n.hosts {
		if slices.Contains(h.Names, name) {
			h.Fingerprint = fingerprint
			if policy.GitHost(fingerprint) != "" {
				h.Groups = append(h.Groups[:len(h.Groups):len(h.Groups)], policy.GroupGit)
			}
			return h, true
		}
	}
	return policy.Host{}, false
}

func (n *hostKeyNames) lookup(key ssh.PublicKey) policy.Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refreshLocked()
	cert, isCert := key.(*ssh.Certificate)
	if isCert {
		key = cert.Key
	}
	h := n.hosts[ssh.FingerprintSHA256(key)]
	if name := policy.GitHost(ssh.FingerprintSHA256(key)); name != "" {
		h.Names, h.Groups = append([]string{name}, h.Names...), append(h.Groups[:len(h.Groups):len(h.Groups)], policy.GroupGit)
	}
	if isCert && cert.SignatureKey != nil && cert.CertType == ssh.HostCert {
		h.Names = append(h.Names[:len(h.Names):len(h.Names)], n.certifiedLocked(cert)...)
	}
	return h
}

// certifiedLocked are the names in the certificate that its authority may give.
func (n *hostKeyNames) certifiedLocked(cert *ssh.Certificate) (names []string) {
	checker := ssh.CertChecker{}
	for _, pattern := range n.authorities[ssh.FingerprintSHA256(cert.SignatureKey)] {
		for _, name := range cert.ValidPrincipals {
			if policy.Match(pattern, name) && checker.CheckCert(name, cert) == nil {
				names = append(names, name)
			}
		}
	}
	return names
}

func (n *hostKeyNames) refreshLocked() {
	var stamps []string
	for _, f := range n.files {
		stamps = append(stamps, stampOf(f.path))
	}
	if now := strings.Join(stamps, "\n"); now == n.stamps && n.hosts != nil {
		return
	} else {
		n.stamps = now
	}
	n.hosts, n.authorities = map[string]policy.Host{}, map[string][]string{}
	for _, f := range n.files {
		n.readLocked(f)
	}
}

// readLocked reads what it can: a line that ssh cannot read either names nobody.
func (n *hostKeyNames) readLocked(f knownHostsFile) {
	file, err := os.Open(f.path)
	if err != nil {
		return
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxKnownHosts))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(data)) {
		marker, names, key, _, _, err := ssh.ParseKnownHosts([]byte(line))
		if err != nil || marker == "revoked" {
			continue
		}
		fingerprint := ssh.FingerprintSHA256(key)
		if marker == "cert-authority" {
			n.authorities[fingerprint] = append(n.authorities[fingerprint], names...)
			continue
		}
		h := n.hosts[fingerprint]
		for _, name := range names {
			if strings.HasPrefix(name, "|") || strings.HasPrefix(name, "!") {
				continue // hashed, or the opposite of a name
			}
			if f.group == policy.GroupWorkspaces {
				name = strings.TrimSuffix(name, ".keyway")
			}
			h.Names = append(h.Names, name)
		}
		if f.group != "" {
			h.Groups = []string{f.group}
		}
		n.hosts[fingerprint] = h
	}
}
