package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
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

// TestOutputOnAFullDisk checks that a command whose output is lost does not report success.
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

// TestReaderOfAJobGoes checks that keyway reports a job that still runs after the reader of its
// output has ended.
func TestReaderOfAJobGoes(t *testing.T) {
	printingJob(t, "while echo y; do :; done 2>/dev/null; exit 141")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `"$0" run train -- yes | head -n 1`, os.Args[0])
	cmd.Env = append(os.Environ(), envMain+"=1")
	said, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(said), "keyway ls train") {
		t.Errorf("%v: %s", err, said)
	}
}

// TestNameOfAJobOnAFullDisk checks that a job whose name could not be written runs nevertheless,
// and that the error tells how to find it.
func TestNameOfAJobOnAFullDisk(t *testing.T) {
	printingJob(t, "echo exp7")
	said, code := intoFull(t, "run", "train", "-d", "--", "true")
	if want := keyway.ExitCode(keyway.Errorf(keyway.NoSpace, "")); code != want || !strings.Contains(said, "keyway attach train/exp7") {
		t.Errorf("it exits with %d, want %d, and says: %s", code, want, said)
	}
}

// TestErrorsOfAJobInAFile checks that the errors of a job stay between the lines of its output in a
// file that gets both.
func TestErrorsOfAJobInAFile(t *testing.T) {
	printingJob(t, "for i in 1 2 3 4 5 6 7 8; do echo out $i; echo err $i >&2; done")
	dir := t.TempDir()
	sh := func(line string) (string, int) {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", line, os.Args[0])
		cmd.Env, cmd.Dir = append(os.Environ(), envMain+"=1"), dir
		said, err := cmd.Output()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return string(said), cmd.ProcessState.ExitCode()
	}
	if said, code := sh(`"$0" run train -- true 2>/dev/full`); code != keyway.ExitCode(keyway.Errorf(keyway.NoSpace, "")) {
		t.Errorf("without its errors it exits with %d and prints %q", code, said)
	}
	want := ""
	for i := range 8 {
		want += fmt.Sprintf("out %d\nerr %[1]d\n", i+1)
	}
	if said, code := sh(`"$0" run train -- true >both 2>&1; cat both`); said != want || code != 0 {
		t.Errorf("in one file are, %d: %s", code, said)
	}
}

// TestKilledSSHIsNotTheJob checks that the death of an ssh on this machine is not reported as the
// job's.
func TestKilledSSHIsNotTheJob(t *testing.T) {
	for signal, want := range map[string]int{"KILL": sshFailed, "SEGV": sshFailed, "TERM": sshFailed, "PIPE": int(brokenPipe)} {
		printingJob(t, "trap - PIPE; kill -"+signal+" $$")
		for _, line := range []string{"run train -- true", "wait train/x", "logs train -f"} {
			said, code := program(t, nil, strings.Fields(line)...)
			if told := strings.Contains(said, "was ended by SIG"+signal); code != want || told != (want == sshFailed) {
				t.Errorf("%s, SIG%s: %d: %s", line, signal, code, said)
			}
		}
	}
}

// TestLinkOfANarrowShell checks that the link outlives the shell that starts it, and does not keep
// its narrow limits.
func TestLinkOfANarrowShell(t *testing.T) {
	for limit, want := range map[string]string{"ulimit -n 100": "ulimit -n", "ulimit -f 10": "ulimit -f", "umask 777": ""} {
		home := lyingPlace(t)
		cmd := exec.CommandContext(t.Context(), "sh", "-c", limit+`; exec "$0" ls --on local`, os.Args[0])
		cmd.Env = append(os.Environ(), envMain+"=1")
		said, err := cmd.CombinedOutput()
		if want != "" && (err == nil || !strings.Contains(string(said), want)) {
			t.Errorf("%s: %v: %s", limit, err, said)
		}
		if said, code := program(t, nil, "ls", "--on", "local"); code != 0 {
			t.Errorf("after %s: %d: %s", limit, code, said)
		}
		program(t, nil, "link", "stop")
		if err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
			if info, err := d.Info(); err == nil && info.Mode().Type() != fs.ModeSymlink && info.Mode().Perm()&0o600 != 0o600 {
				t.Errorf("after %s: %s %v", limit, path, info.Mode()) // root could execute it, others could not
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
}
