package host

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"

	"keyway/internal/engine"
	"keyway/internal/keyway"
	"keyway/internal/sshwire"
)

// oldKey is where guests of an older keyway, which made their host keys
// themselves, kept them.
const oldKey = "host_key"

// hostKey is the workspace's host key as it is handed over. A workspace of an
// older keyway keeps the key that laptops know: its file was the user's own,
// behind the same 0700 directory as those that the place keeps.
func (e *Engine) hostKey(name keyway.Name, home keyway.Home) ([]byte, error) {
	rec, err := e.homes.Record(name)
	if err != nil {
		return nil, err
	}
	if rec.HostKey == "" {
		key, err := readOldKey(home)
		if err != nil {
			return nil, keyway.Errorf(keyway.GuestFailed, "the workspace %s was made by an older keyway, and its host key cannot be read: %w", name, err).
				Advise(keyway.MakeProcesses, string(name))
		}
		if err := e.homes.GiveKey(name, key); err != nil {
			return nil, err
		}
		_ = os.Remove(filepath.Join(string(home), oldKey)) // it is kept in one place from now on
	}
	return e.homes.HostKey(name)
}

// maxOldKey bounds a host key's file in bytes.
const maxOldKey = 64 << 10

func readOldKey(home keyway.Home) (ed25519.PrivateKey, error) {
	root, err := os.OpenRoot(string(home))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := engine.OpenIn(root, oldKey)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxOldKey))
	if err != nil {
		return nil, err
	}
	return parseOldKey(data)
}

// errNoKey says that a file holds no key as guests of an older keyway wrote them.
var errNoKey = errors.New("it holds no plain Ed25519 key")

// parseOldKey reads an unencrypted Ed25519 key in OpenSSH's form (PROTOCOL.key).
// The node links no library that speaks SSH.
func parseOldKey(data []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errNoKey
	}
	rest, ok := bytes.CutPrefix(block.Bytes, []byte("openssh-key-v1\x00"))
	r := sshwire.NewReader(rest)
	cipher, kdf, options := r.Text(), r.Text(), r.String()
	plain := cipher == "none" && kdf == "none" && len(options) == 0
	one := r.Uint32() == 1
	r.String() // the public key, which is in what follows, too
	r = sshwire.NewReader(r.String())
	check, again := r.Uint32(), r.Uint32()
	same := check == again
	kind, public, private := r.Text(), r.String(), r.String()
	if !ok || r.Err() != nil || !plain || !one || !same || kind != "ssh-ed25519" || len(private) != ed25519.PrivateKeySize {
		return nil, errNoKey
	}
	key := ed25519.NewKeyFromSeed(private[:ed25519.SeedSize])
	if !bytes.Equal(key, private) || !bytes.Equal(public, private[ed25519.SeedSize:]) {
		return nil, errNoKey
	}
	return key, nil
}
