//go:build linux

package guest

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
)

// maxAuthorizedKeys bounds the file in bytes.
const maxAuthorizedKeys = 1 << 20

// hostKey is the workspace's key, in the forms that SSH and streams use.
type hostKey struct {
	ssh.Signer
	streams crypto.Signer
}

func newHostKey(key crypto.Signer) (*hostKey, error) {
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	return &hostKey{signer, key}, nil
}

// authorizedKey is one key that may enter.
type authorizedKey struct {
	key     ssh.PublicKey
	comment string
}

// findAuthorized looks for key among the keys that may enter now. If the file cannot be
// read, no key may.
func findAuthorized(home keyway.Home, key ssh.PublicKey) (authorizedKey, error) {
	data, err := readOwned(home.AuthorizedKeys(), maxAuthorizedKeys, ownersOf(home))
	if err != nil {
		return authorizedKey{}, fmt.Errorf("nobody may enter: %w", err)
	}
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key // the client proves that it holds this key; some agents offer only certificates
	}
	wanted := key.Marshal()
	for _, k := range parseAuthorizedKeys(data, time.Now()) {
		if bytes.Equal(k.key.Marshal(), wanted) {
			return k, nil
		}
	}
	return authorizedKey{}, errors.New("the key is not among those that may enter")
}

// parseAuthorizedKeys returns the keys of an authorized_keys file (sshd(8)) that may enter
// at now. It omits a line with any option other than expiry-time: each option restricts,
// and a restriction that is not enforced must not become a permission. It omits
// certificates, which restrict one key and name no authority to trust.
func parseAuthorizedKeys(data []byte, now time.Time) []authorizedKey {
	var keys []authorizedKey
	for line := range bytes.Lines(data) {
		key, comment, options, rest, err := ssh.ParseAuthorizedKey(line)
		if err != nil || !allowed(options, now) || len(bytes.TrimSpace(rest)) > 0 {
			continue
		}
		if _, isCert := key.(*ssh.Certificate); isCert {
			continue
		}
		keys = append(keys, authorizedKey{key: key, comment: comment})
	}
	return keys
}

// allowed reports whether the options of a line let its key enter at now.
func allowed(options []string, now time.Time) bool {
	if len(options) == 0 {
		return true
	}
	until, ok := strings.CutPrefix(options[0], `expiry-time="`)
	end, err := time.Parse(keyway.ExpiryForm+`"`, until)
	return len(options) == 1 && ok && err == nil && now.Before(end)
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAtMost(f, path, limit)
}

func readAtMost(f io.Reader, path string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	return data, nil
}
