package sshconfig

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// maxHostKey bounds a public key line in bytes: RSA of 16384 bits is under 3 KiB.
const maxHostKey = 8 << 10

// ParseHostKey reads a public host key in authorized_keys form: type, base64,
// perhaps a comment. Options before it, and certificates, are refused.
func ParseHostKey(line string) (ssh.PublicKey, error) {
	if len(line) > maxHostKey {
		return nil, fmt.Errorf("the host key is over %d bytes long", maxHostKey)
	}
	line = strings.TrimSpace(line)
	if strings.ContainsAny(line, "\r\n\x00") {
		return nil, errors.New("the host key is more than one line")
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, errors.New("that is not a public key")
	}
	if len(options) > 0 {
		return nil, errors.New("a host key has no options")
	}
	if hostKeyAlgorithms(key) == "" {
		return nil, fmt.Errorf("a host key cannot be of type %s", key.Type())
	}
	return key, nil
}

// Fingerprint returns the SHA-256 fingerprint of a host key as ssh shows it.
func Fingerprint(hostKey string) (string, error) {
	key, err := ParseHostKey(hostKey)
	if err != nil {
		return "", err
	}
	return ssh.FingerprintSHA256(key), nil
}

// fingerprint is Fingerprint for messages.
func fingerprint(hostKey string) string {
	f, err := Fingerprint(hostKey)
	if err != nil {
		return "no key"
	}
	return f
}

func sameKey(a, b string) bool {
	x, errX := ParseHostKey(a)
	y, errY := ParseHostKey(b)
	return errX == nil && errY == nil && bytes.Equal(x.Marshal(), y.Marshal())
}

// hostKeyAlgorithms returns the value of HostKeyAlgorithms that makes ssh request that key from a
// server, even if the user prefers other types. It is empty for keys that are not plain host keys.
func hostKeyAlgorithms(key ssh.PublicKey) string {
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return key.Type()
	case ssh.KeyAlgoRSA:
		return ssh.KeyAlgoRSASHA512 + "," + ssh.KeyAlgoRSASHA256
	}
	return ""
}
