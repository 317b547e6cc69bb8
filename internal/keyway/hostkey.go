package keyway

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A guest's host key is made by the node and handed to the guest's first process
// as one line on its standard input:
//
//	keyway-host-key-1 SP base64(seed) LF
//
// The seed has 32 bytes (RFC 8032, section 5.1.5). The line has one length, so
// the reader takes exactly that and waits for no end of file.
const hostKeyMagic = "keyway-host-key-1 "

// HostKeyLine is the length of a handed over host key in bytes.
const HostKeyLine = len(hostKeyMagic) + 44 + 1

// MarshalHostKey returns key in the encoding in which the node hands it to a guest.
func MarshalHostKey(key ed25519.PrivateKey) []byte {
	return []byte(hostKeyMagic + base64.StdEncoding.EncodeToString(key.Seed()) + "\n")
}

// ReadHostKey reads HostKeyLine bytes and no more. The error never quotes them.
func ReadHostKey(r io.Reader) (ed25519.PrivateKey, error) {
	line := make([]byte, HostKeyLine)
	if _, err := io.ReadFull(r, line); err != nil {
		return nil, fmt.Errorf("no host key was handed over: %w", err)
	}
	text, ok := strings.CutPrefix(string(line), hostKeyMagic)
	text, ended := strings.CutSuffix(text, "\n")
	seed, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || !ended || err != nil || len(seed) != ed25519.SeedSize {
		return nil, errors.New("the handed-over key is not a host key")
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// PublicHostKey returns a public key in authorized_keys form (RFC 8709, section 4).
func PublicHostKey(key ed25519.PublicKey) string {
	const kind = "ssh-ed25519"
	var blob []byte
	for _, field := range []string{kind, string(key)} {
		blob = append(binary.BigEndian.AppendUint32(blob, uint32(len(field))), field...)
	}
	return kind + " " + base64.StdEncoding.EncodeToString(blob)
}
