//go:build linux

package guest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"keyway/internal/keyway"
)

// A baked image (internal/bake) contains the guest and starts without a node. The person
// who starts the container says which keys may enter; nothing in the image does. Without a
// key it does not start.
const (
	envKeys     = "KEYWAY_AUTHORIZED_KEYS" // lines of an authorized_keys file
	envPort     = "KEYWAY_PORT"
	defaultPort = "22"
	keysMount   = "keys"                 // in the Home: a mounted authorized_keys file
	ownKeyFile  = "ssh_host_ed25519_key" // in Home.Data: the line that a node would write
)

// sshdMain is the first process of a container that no node has started.
func sshdMain(command []string) int {
	home := keyway.GuestHome
	keys, err := givenKeys(home)
	if err != nil {
		return fail(os.Stderr, err)
	}
	if err := keyway.WriteFile(home.AuthorizedKeys(), keys, 0o644); err != nil {
		return fail(os.Stderr, fmt.Errorf("a read-only file system needs a volume at %s: %w", home, err))
	}
	port := os.Getenv(envPort)
	if port == "" {
		port = defaultPort
	}
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return fail(os.Stderr, keyway.Errorf(keyway.Usage, "%w", err).Hint("choose another port by %s", envPort))
	}
	tcp, err := l.(*net.TCPListener).File()
	l.Close()
	if err != nil {
		return fail(os.Stderr, err)
	}
	defer tcp.Close()
	return beFirst(home, command, opening{tcp: tcp, key: func() (ed25519.PrivateKey, error) {
		key, err := ownHostKey(home)
		if err == nil {
			line := keyway.PublicHostKey(key.Public().(ed25519.PublicKey)) + "\n"
			fmt.Fprintf(os.Stderr, "%s: listening on port %s with the host key %s", keyway.GuestProgram, port, line)
			err = keyway.WriteFile(filepath.Join(string(home), ownKeyFile+".pub"), []byte(line), 0o644)
		}
		return key, err
	}})
}

// givenKeys returns the keys that may enter: those of the environment and those of the
// mount.
func givenKeys(home keyway.Home) ([]byte, error) {
	path := filepath.Join(string(home), keysMount)
	keys := []byte(os.Getenv(envKeys) + "\n")
	if st, err := os.Lstat(path); err == nil {
		mounted, err := readOwned(path, maxAuthorizedKeys, owners{ownerOf(st)}) // it may belong to any user where it was mounted from
		if err != nil {
			return nil, err
		}
		keys = append(keys, mounted...)
	}
	if len(parseAuthorizedKeys(keys, time.Now())) == 0 {
		return nil, keyway.Errorf(keyway.Usage, "no public key may enter, so nothing is started").
			Hint("give keys without options: docker run -e %s=\"$(ssh-add -L)\" …, or mount a file of them at %s", envKeys, path)
	}
	return keys, nil
}

// ownHostKey returns the container's host key, which is made at its first start. A key file
// that cannot be trusted is an error and never replaced: clients know the key.
func ownHostKey(home keyway.Home) (ed25519.PrivateKey, error) {
	if err := os.Mkdir(home.Data(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	path := filepath.Join(home.Data(), ownKeyFile)
	st, err := os.Lstat(path)
	if err == nil && st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the host key %s is open to others (mode %#o)", path, st.Mode().Perm())
	}
	if err == nil {
		line, err := readOwned(path, int64(keyway.HostKeyLine), owners{uint32(os.Getuid())})
		if err != nil {
			return nil, err
		}
		return keyway.ReadHostKey(bytes.NewReader(line))
	}
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails
	key := ed25519.NewKeyFromSeed(seed)
	return key, keyway.WriteFile(path, keyway.MarshalHostKey(key), 0o600)
}
