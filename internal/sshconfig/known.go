package sshconfig

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what OpenSSH hashes names with
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
	"keyway/internal/policy"
)

// Bounds on known_hosts files.
const (
	maxKnownHosts = 32 << 20 // bytes of a file
	maxKnownFiles = 256
)

// knownLine is a line of a known_hosts file, as sshd(8) has it.
type knownLine struct {
	file    string
	where   string // file:line
	marker  string // @cert-authority or @revoked; else empty
	hosts   string // as it stands there, perhaps hashed
	keyBlob []byte // empty where it cannot be read
}

// readKnown reads all lines of the files. A file or line that ssh cannot read names no host. A file
// that is too large is an error, and does not count as empty.
func readKnown(files []string) ([]knownLine, error) {
	if len(files) > maxKnownFiles {
		return nil, keyway.Errorf(keyway.BadConfig, "your ssh configuration names %d known_hosts files, more than %d", len(files), maxKnownFiles)
	}
	var all []knownLine
	for _, file := range files {
		data, err := readBounded(file, maxKnownHosts)
		if errors.Is(err, errTooLarge) {
			return nil, keyway.Errorf(keyway.BadConfig, "%s is larger than %d bytes, too large for a known_hosts", file, maxKnownHosts).
				Hint("see what is in it: ls -l %s", file)
		}
		n := 0
		for text := range strings.Lines(string(data)) {
			n++
			if l, ok := parseKnownLine(text); ok {
				l.file, l.where = file, fmt.Sprintf("%s:%d", file, n)
				all = append(all, l)
			}
		}
	}
	return all, nil
}

func parseKnownLine(text string) (knownLine, bool) {
	var l knownLine
	fields := strings.Fields(text)
	if len(fields) > 0 && strings.HasPrefix(fields[0], "@") {
		l.marker, fields = fields[0], fields[1:]
	}
	if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
		return knownLine{}, false
	}
	l.hosts = fields[0]
	if len(fields) > 2 {
		l.keyBlob, _ = base64.StdEncoding.DecodeString(fields[2])
	}
	return l, true
}

// names reports whether the line is about a host of that name, at whichever of
// the ports. A pattern that is about any host (noHost) is about none.
func (l knownLine) names(name string, ports []string) bool {
	if strings.HasPrefix(l.hosts, "|") {
		return IsHashOf(l.hosts, name) || slices.ContainsFunc(ports, func(p string) bool { return IsHashOf(l.hosts, "["+name+"]:"+p) })
	}
	return l.matches(name) && !l.matches(noHost)
}

// matches is names for a line that is not hashed.
func (l knownLine) matches(name string) bool {
	found := false
	for pattern := range strings.SplitSeq(l.hosts, ",") {
		pattern, not := strings.CutPrefix(strings.ToLower(pattern), "!")
		if policy.Match(withoutPort(pattern), name) {
			if not {
				return false
			}
			found = true
		}
	}
	return found
}

// IsHashOf reports whether hash is how known_hosts hides name: |1|SALT|HMAC-SHA1.
func IsHashOf(hash, name string) bool {
	parts := strings.Split(hash, "|")
	if len(parts) != 4 || parts[1] != "1" {
		return false
	}
	salt, err1 := base64.StdEncoding.DecodeString(parts[2])
	want, err2 := base64.StdEncoding.DecodeString(parts[3])
	h := hmac.New(sha1.New, salt)
	h.Write([]byte(name))
	return err1 == nil && err2 == nil && hmac.Equal(h.Sum(nil), want)
}

// owner returns the line's name for its host. A hashed name is found if it is one of
// candidates.
func (l knownLine) owner(candidates, ports []string) string {
	if !strings.HasPrefix(l.hosts, "|") {
		first, _, _ := strings.Cut(l.hosts, ",")
		return printable(clip(first, 255))
	}
	for _, name := range candidates {
		if l.names(name, ports) {
			return name
		}
	}
	return "a host whose name is hashed"
}

// has reports whether the line has key.
func (l knownLine) has(key ssh.PublicKey) bool { return bytes.Equal(l.keyBlob, key.Marshal()) }
