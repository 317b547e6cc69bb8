package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// intoFull runs keyway with its output on a full disk.
func intoFull(t *testing.T, args ...string) (said string, code int) {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	var errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), envMain+"=1")
	cmd.Stdout, cmd.Stderr = full, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return errs.String(), cmd.ProcessState.ExitCode()
}

// printingJob makes a laptop whose ssh runs the shell's words script in place of a
// workspace's keyway, and survives a broken pipe as OpenSSH does.
func printingJob(t *testing.T, script string) {
	t.Helper()
	home := lyingPlace(t)
	openssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(home, ".ssh", "config"), fmt.Sprintf("Include %q\n", filepath.Join(home, "state", "keyway", "ssh_config")), 0o600)
	write(t, filepath.Join(home, "bin", "ssh"), "#!/bin/sh\ncase \" $* \" in *\" -G \"*|*\" -V \"*) exec "+openssh+" \"$@\";; esac\n"+
		"trap '' PIPE\n"+script+"\n", 0o755)
}

// No command whose output is missing says that it has done what it was asked to do.
func TestOutputOnAFullDisk(t *testing.T) {
	printingJob(t, "echo the output of a job")
	noSpace := keyway.ExitCode(keyway.Errorf(keyway.NoSpace, ""))
	for _, line := range []string{
		"--help", "--version", "up --help", "help run", "completion bash", "keys", "policy check", "status", "status --json",
		"run train -- true", "logs train", "logs train -f", "attach train", "wait train/x", "send train/x C-c",
	} {
		said, code := intoFull(t, strings.Fields(line)...)
		if code != noSpace || strings.Count(said, "the output cannot be written: ") != 1 {
			t.Errorf("keyway %s exits with %d and says: %s", line, code, said)
		}
	}
}

// A job is not left running unsaid behind a reader that has seen enough.
func TestReaderOfAJobGoes(t *testing.T) {
	printingJob(t, "while echo y; do :; done 2>/dev/null; exit 141")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `"$0" run train -- yes | head -n 1`, os.Args[0])
	cmd.Env = append(os.Environ(), envMain+"=1")
	said, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(said), "keyway ls train") {
		t.Errorf("%v: %s", err, said)
	}
}

// A job whose name could not be written runs all the same: where it is found is said.
func TestNameOfAJobOnAFullDisk(t *testing.T) {
	printingJob(t, "echo exp7")
	said, code := intoFull(t, "run", "train", "-d", "--", "true")
	if want := keyway.ExitCode(keyway.Errorf(keyway.NoSpace, "")); code != want || !strings.Contains(said, "keyway attach train/exp7") {
		t.Errorf("it exits with %d, want %d, and says: %s", code, want, said)
	}
}
