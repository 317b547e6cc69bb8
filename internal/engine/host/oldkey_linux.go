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

// oldKey is the file with the host key of a guest of an older keyway, which made its key itself.
const oldKey = "host_key"

// hostKey returns the workspace's host key in the form in which it is handed over. A workspace of
// an older keyway keeps the key that laptops know. Its file belonged to the user and was in a 0700
// directory, as are those of the place.
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
		_ = os.Remove(filepath.Join(string(home), oldKey)) // from now on, the key is in one place
	}
	return e.homes.HostKey(name)
}

// maxOldKey bounds the bytes of a host key's file.
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

// errNoKey is the error for a file that holds no key in the form of an older keyway.
var errNoKey = errors.New("it holds no plain Ed25519 key")

// parseOldKey parses an unencrypted Ed25519 key in OpenSSH's format (PROTOCOL.key). The node links
// no library for SSH.
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
	r.String() // the public key, which the next field contains, too
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
