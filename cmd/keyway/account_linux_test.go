package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keyway/internal/keyway"
)

// TestAUserWhomTheMachineDoesNotHave checks a uid without a user (a container that is run with
// --user 4242). OpenSSH then refuses to run in any form, and each command reports why.
func TestAUserWhomTheMachineDoesNotHave(t *testing.T) {
	home := newLaptop(t)
	program := copyOfThisProgram(t)
	write(t, filepath.Join(home, ".ssh", "config"), "Host gpu1\n\tHostName 127.0.0.1\n", 0o600)
	const uid = 4242
	if err := filepath.Walk(home, func(path string, _ os.FileInfo, _ error) error { return os.Chown(path, uid, uid) }); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, int) {
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), envMain+"=1", "USER=", "LOGNAME=")
		cmd.Dir = home
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Setsid: true}
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	defer run("link", "stop")
	const says = "this machine has no user with the uid 4242"
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"doctor"}, 1},
		{[]string{"init", "--yes", "--no-passphrase"}, 40},
		{[]string{"up", "--on", "gpu1", "--image", "debian:12", "--name", "x"}, 40},
		{[]string{"add", "gpu1/train"}, 40},
		{[]string{"status", "gpu1"}, 40},
	} {
		out, code := run(c.args...)
		if !strings.Contains(out, says) || !strings.Contains(out, "useradd -u 4242") || strings.Contains(out, "install") || code != c.code {
			t.Errorf("%q, %d:\n%s", c.args, code, out)
		}
	}
}

// copyOfThisProgram returns the path of a copy of this program that all users may execute.
func copyOfThisProgram(t *testing.T) string {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "kw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "keyway")
	write(t, path, string(self), 0o755)
	return path
}

// TestInitInAnotherHome checks that init warns if it prepares another directory than the home
// directory of the account, which ssh reads.
func TestInitInAnotherHome(t *testing.T) {
	home := newLaptop(t)
	write(t, filepath.Join(home, ".ssh", "id_ed25519"), "x", 0o600)
	var news bytes.Buffer
	if err := runInit(t.Context(), initOptions{yes: true}, &news); err != nil {
		t.Fatal(err)
	}
	if says := "HOME is " + home + ", and this was done there; your ssh reads /"; !strings.Contains(news.String(), says) || !strings.Contains(news.String(), "→ prepare that one: HOME=/") {
		t.Errorf("init says:\n%s", news.String())
	}
}

// TestNoSuchUser checks that only OpenSSH's own words about an unknown user are taken for such.
func TestNoSuchUser(t *testing.T) {
	for said, is := range map[string]bool{
		"No user exists for uid 4242\r\n": true, "warning\nNo user exists for uid 7\nmore": true,
		"No user exists for uid $(id)\n": false, "No user exists for uid \n": false, "": false, "No user exists": false, "No user exists for uid -1\n": false,
	} {
		if e := keyway.NoSuchUser(said); (e != nil) != is {
			t.Errorf("%q: %v", said, e)
		}
	}
}
