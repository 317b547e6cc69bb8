//go:build linux

package guest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestIsCopyID checks the commands of each version of ssh-copy-id, and commands that users type.
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

// TestSSHCopyIDFails checks that the real ssh-copy-id, in each of its forms, reports no success and
// writes no key.
func TestSSHCopyIDFails(t *testing.T) {
	w := startWorkspace(t)
	config, identity := withoutIdentity(t, w)
	for _, way := range [][]string{{}, {"-f"}, {"-s"}, {"-f", "-s"}} {
		home := t.TempDir()
		must(t, os.Mkdir(filepath.Join(home, ".ssh"), 0o700))
		key := filepath.Join(home, "new")
		writeKey(t, key)
		// The key that enters is an agent's, as keyway's entries have it.
		script := "ssh-add -q " + identity + " && exec ssh-copy-id " + strings.Join(way, " ") + " -i " + key + ".pub -F " + config + " ws"
		cmd := w.command("ssh-agent", "sh", "-c", script)
		cmd.Env = append(cmd.Env, "HOME="+home)
		r := w.run(cmd)
		if r.code == 0 || !strings.Contains(r.stderr, "ssh-copy-id does nothing here") || strings.Contains(r.stdout, "Number of key(s) added") {
			t.Errorf("%q: %+v", way, r)
		}
		if keys, err := os.ReadFile(filepath.Join(w.info.Home, ".ssh", "authorized_keys")); err == nil {
			t.Errorf("%q wrote %q", way, keys)
		}
	}
}

// withoutIdentity returns the configuration without the key that may enter, and that key.
func withoutIdentity(t *testing.T, w *workspace) (config, identity string) {
	t.Helper()
	data, err := os.ReadFile(w.config)
	must(t, err)
	var kept []string
	for line := range strings.Lines(string(data)) {
		if path, is := strings.CutPrefix(strings.TrimSpace(line), "IdentityFile "); is {
			identity = path
		} else if !strings.Contains(line, "IdentitiesOnly") {
			kept = append(kept, line)
		}
	}
	config = filepath.Join(t.TempDir(), "config")
	must(t, os.WriteFile(config, []byte(strings.Join(kept, "")), 0o600))
	return config, identity
}

// TestKeysFilesAreFiles checks that a user that writes a keys file for an sshd of the image is not
// mistaken for ssh-copy-id, and that a repeated write of the file succeeds.
func TestKeysFilesAreFiles(t *testing.T) {
	w := startWorkspace(t)
	file := filepath.Join(t.TempDir(), "authorized_keys")
	must(t, os.WriteFile(file, []byte("ssh-ed25519 AAAA x\n"), 0o600))
	there := filepath.Join(w.info.Home, ".ssh", "authorized_keys")
	for what, batch := range map[string]string{
		"put":       "-mkdir .ssh\nput " + file + " .ssh/authorized_keys\nchmod 600 .ssh/authorized_keys\nchmod 700 .ssh\n",
		"directory": "-mkdir .ssh\nput -r " + filepath.Dir(file) + "/. .ssh\n",
		"insists":   "-mkdir .ssh\nchmod 700 .ssh\n-put " + file + " .ssh/authorized_keys\nput " + file + " .ssh/authorized_keys\n",
	} {
		cmd := w.command("sftp", "-b", "-", "-F", w.config, "ws")
		cmd.Stdin = strings.NewReader(batch)
		r := w.run(cmd)
		if data, err := os.ReadFile(there); r.code != 0 || err != nil || !strings.HasPrefix(string(data), "ssh-ed25519") {
			t.Errorf("%s: %q, %v, %+v", what, data, err, r)
		}
		must(t, os.RemoveAll(filepath.Dir(there)))
	}
}
