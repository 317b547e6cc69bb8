//go:build linux

package guest

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
)

// Bounds on the key files, which lie where the workspace's own processes can
// write.
const (
	maxAuthorizedKeys = 1 << 20 // bytes of the file
	maxHostKey        = 64 << 10
)

// loadHostKey reads the host key, or makes it when there is none: it lives as
// long as the workspace, so that whoever has pinned it never sees it change.
func loadHostKey(home keyway.Home) (*hostKey, error) {
	data, err := readBounded(home.HostKey(), maxHostKey)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = makeHostKey(home)
	}
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	private, err := ssh.ParseRawPrivateKey(data)
	if err == nil {
		var signer ssh.Signer
		if signer, err = ssh.NewSignerFromKey(private); err == nil {
			return &hostKey{signer, private}, nil
		}
	}
	return nil, fmt.Errorf("host key %s: %w", home.HostKey(), err)
}

// hostKey is the workspace's key as SSH uses it and as it was read.
type hostKey struct {
	ssh.Signer
	private any
}

// streams is the key as streams use it, or nil: they want an Ed25519 key, which
// is what keyway makes, but the file may hold another.
func (k *hostKey) streams() crypto.Signer {
	if p, ok := k.private.(*ed25519.PrivateKey); ok {
		return *p
	}
	return nil
}

func makeHostKey(home keyway.Home) ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "keyway workspace")
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(block)
	return data, keyway.WriteFile(home.HostKey(), data, 0o600)
}

// authorizedKey is one key that may enter.
type authorizedKey struct {
	key     ssh.PublicKey
	comment string
}

// findAuthorized looks for key among those that may enter now. A file that
// cannot be read lets nobody in.
func findAuthorized(home keyway.Home, key ssh.PublicKey) (authorizedKey, error) {
	data, err := readBounded(home.AuthorizedKeys(), maxAuthorizedKeys)
	if err != nil {
		return authorizedKey{}, fmt.Errorf("nobody may enter: %w", err)
	}
	wanted := key.Marshal()
	for _, k := range parseAuthorizedKeys(data) {
		if bytes.Equal(k.key.Marshal(), wanted) {
			return k, nil
		}
	}
	return authorizedKey{}, errors.New("the key is not among those that may enter")
}

// parseAuthorizedKeys returns the keys of an authorized_keys file (sshd(8)).
// A line with options is left out: each of them restricts, and a restriction
// that is not enforced must not become a permission. So is a certificate, which
// says what one signature allows and not whose signatures to believe.
func parseAuthorizedKeys(data []byte) []authorizedKey {
	var keys []authorizedKey
	for line := range bytes.Lines(data) {
		key, comment, options, rest, err := ssh.ParseAuthorizedKey(line)
		if err != nil || len(options) > 0 || len(bytes.TrimSpace(rest)) > 0 {
			continue
		}
		if _, isCert := key.(*ssh.Certificate); isCert {
			continue
		}
		keys = append(keys, authorizedKey{key: key, comment: comment})
	}
	return keys
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	return data, nil
}
