package link

import (
	"bufio"
	"os"
	"strconv"

	"golang.org/x/crypto/ssh"
)

// knownFingerprint returns the fingerprint of the key at a line of a known_hosts file.
func knownFingerprint(file, line string) string {
	want, err := strconv.Atoi(line)
	if err != nil {
		return "another one"
	}
	f, err := os.Open(file)
	if err != nil {
		return "another one"
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		if n != want {
			continue
		}
		if _, _, key, _, _, err := ssh.ParseKnownHosts(s.Bytes()); err == nil {
			return ssh.FingerprintSHA256(key)
		}
		break
	}
	return "another one"
}
