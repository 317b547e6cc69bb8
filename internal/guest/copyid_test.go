//go:build linux

package guest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestIsCopyID has what the versions of ssh-copy-id run, and what people do.
func TestIsCopyID(t *testing.T) {
	for command, want := range map[string]bool{
		// OpenSSH 7 to 8.4, 8.5 to 9.4, and since
		"exec sh -c 'cd ; umask 077 ; mkdir -p .ssh && { [ -z `tail -1c .ssh/authorized_keys 2>/dev/null` ] || echo >> .ssh/authorized_keys ; } && cat >> .ssh/authorized_keys || exit 1 ; if type restorecon >/dev/null 2>&1 ; then restorecon -F .ssh .ssh/authorized_keys ; fi'": true,
		"exec sh -c 'cd; umask 077; mkdir -p .ssh && { [ -z `tail -1c .ssh/authorized_keys 2>/dev/null` ] || echo >> .ssh/authorized_keys || exit 1; } && cat >> .ssh/authorized_keys || exit 1; '":                                                                                 true,
		"exec sh -c ' cd; umask 077; mkdir -p \".ssh\" && { [ -z `tail -1c .ssh/authorized_keys 2>/dev/null` ] || echo >> \".ssh/authorized_keys\" || exit 1; } && cat >> \".ssh/authorized_keys\" || exit 1; '":                                                                    true,
		"mkdir -p ~/.ssh && cat >> ~/.ssh/authorized_keys": false, // for an sshd of the image's own, as MPI wants it
		"echo .ssh/authorized_keys":                        false,
		"exec sh -c 'cat .ssh/authorized_keys'":            false,
		"":                                                 false,
	} {
		if got := isCopyID(command); got != want {
			t.Errorf("%v for %s", got, command)
		}
	}
}

// TestSSHCopyIDFails asks the real one: it must not say that it has worked. It makes its
// own files in ~/.ssh.
func TestSSHCopyIDFails(t *testing.T) {
	w := startWorkspace(t)
	home := t.TempDir()
	must(t, os.Mkdir(filepath.Join(home, ".ssh"), 0o700))
	key := filepath.Join(home, "new")
	writeKey(t, key)
	cmd := w.command("ssh-copy-id", "-f", "-i", key+".pub", "-F", w.config, "ws")
	cmd.Env = append(cmd.Env, "HOME="+home)
	r := w.run(cmd)
	if r.code == 0 || !strings.Contains(r.stderr, "ssh-copy-id does nothing here") || strings.Contains(r.stdout, "Number of key(s) added") {
		t.Errorf("%+v", r)
	}
}
