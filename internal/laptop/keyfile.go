package laptop

import (
	"bytes"
	"io"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
	"keyway/internal/plain"
)

// CheckKeyFile returns an error if a file cannot be unlocked, before ssh-add reports it in
// other words or asks for the passphrase of a file without one.
func CheckKeyFile(file string) error {
	name := plain.Shell(file)
	info, err := os.Stat(file)
	if err != nil {
		return keyway.Errorf(keyway.NoKey, "the key file cannot be used: %w", err).Hint("see which there are: ls ~/.ssh")
	}
	if !info.Mode().IsRegular() {
		return keyway.Errorf(keyway.NoKey, "%s is not a file", name).Hint("name the file of a private key: ls ~/.ssh")
	}
	f, err := os.Open(file)
	if err != nil {
		return keyway.Errorf(keyway.NoKey, "the key file cannot be read: %w", err).Hint("see whose it is: ls -l %s", name)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return keyway.Errorf(keyway.NoKey, "the key file cannot be read: %w", err)
	}
	switch {
	case bytes.Contains(data, []byte("PRIVATE KEY-----")):
	case bytes.HasPrefix(data, []byte("PuTTY-User-Key-File")):
		return keyway.Errorf(keyway.NoKey, "%s is a key of PuTTY's own form", name).
			Hint("turn it into one of OpenSSH's: puttygen %s -O private-openssh -o ~/.ssh/id_putty", name)
	case isPublic(data):
		err := keyway.Errorf(keyway.NoKey, "%s is the public half of a key, which has nothing to unlock", name)
		if private, ok := strings.CutSuffix(file, ".pub"); ok {
			return err.Advise(keyway.UnlockFile, private)
		}
		return err.Hint("name the file of the private one: ls ~/.ssh")
	default:
		return keyway.Errorf(keyway.NoKey, "%s holds no private key", name).Hint("see which files do: grep -l PRIVATE ~/.ssh/*")
	}
	if tooOpen(info) {
		return keyway.Errorf(keyway.NoKey, "%s is open to other users of this machine (mode %04o), and ssh ignores such a key", name, info.Mode().Perm()).
			Hint("close it: chmod 600 %s\nif somebody may have copied it, make another: ssh-keygen -t ed25519", name)
	}
	return nil
}

func isPublic(data []byte) bool {
	_, _, _, _, err := ssh.ParseAuthorizedKey(data)
	return err == nil
}
