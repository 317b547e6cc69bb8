//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"

	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/test/await"
)

// envMain makes the test binary the program itself.
const envMain = "KEYWAY_TEST_MAIN"

func TestMain(m *testing.M) {
	if how := os.Getenv(envLiar); how != "" {
		os.Exit(playLiar(how))
	}
	if os.Getenv(envMain) != "" {
		os.Exit(run())
	}
	os.Exit(m.Run())
}

// secret is the passphrase of the tests' keys.
const secret = "correct horse"

// patience bounds the time of a command of these tests.
const patience = await.Patience

// program runs keyway in a session of its own, without a terminal.
func program(t *testing.T, stdin io.Reader, args ...string) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.WaitDelay = patience
	cmd.Env = append(os.Environ(), envMain+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stdin = stdin
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// onTTY runs keyway on a terminal and types the answers, each when its question
// has been asked.
func onTTY(t *testing.T, dialogue [][2]string, args ...string) (output string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), envMain+"=1")
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	var said bytes.Buffer
	buf := make([]byte, 4096)
	stop := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer stop.Stop()
	for {
		n, err := tty.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			break // the last process has closed the terminal
		}
		if len(dialogue) > 0 && strings.Contains(said.String(), dialogue[0][0]) {
			time.Sleep(50 * time.Millisecond) // input typed before the echo is off is discarded
			io.WriteString(tty, dialogue[0][1]+"\n")
			dialogue = dialogue[1:]
		}
	}
	cmd.Wait()
	if len(dialogue) > 0 {
		t.Errorf("never asked %q:\n%s", dialogue[0][0], said.String())
	}
	return said.String(), cmd.ProcessState.ExitCode()
}

// askpass is a program that knows the passphrase.
func askpass(t *testing.T, home, passphrase string) {
	t.Helper()
	path := filepath.Join(home, "askpass")
	write(t, path, "#!/bin/sh\necho '"+passphrase+"'\n", 0o700)
	t.Setenv("SSH_ASKPASS", path)
	t.Setenv("DISPLAY", "")
	t.Setenv("SSH_ASKPASS_REQUIRE", "")
}

// lockedKey makes a key with the passphrase.
func lockedKey(t *testing.T, home string) string {
	t.Helper()
	path := filepath.Join(home, ".ssh", "id_ed25519")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-a", "1", "-N", secret, "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// endAgent ends the agent that unlock started in the test's directory.
func endAgent(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		out, _ := exec.Command("pgrep", "-f", "keyway agent .*-a "+runtimeDir(t)).Output()
		for _, pid := range strings.Fields(string(out)) {
			exec.Command("kill", pid).Run()
		}
	})
}

func runtimeDir(t *testing.T) string {
	t.Helper()
	dir, err := dirs.Runtime()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestInitInScript checks that init makes no key without a passphrase in a script, where no user
// can type one.
func TestInitInScript(t *testing.T) {
	home := newLaptop(t)
	t.Setenv("SSH_ASKPASS", "")
	key := filepath.Join(home, ".ssh", "id_ed25519")
	out, code := program(t, nil, "init", "--yes")
	if code != keyway.ExitCode(keyway.Errorf(keyway.NeedsAnswer, "")) || !strings.Contains(out, "--no-passphrase") {
		t.Errorf("code %d: %s", code, out)
	}
	if _, err := os.Stat(key); err == nil {
		t.Error("a key was made all the same")
	}
	askpass(t, home, secret)
	if out, code := program(t, nil, "init", "--yes"); code != 0 {
		t.Fatalf("code %d: %s", code, out)
	}
	data, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	var locked *ssh.PassphraseMissingError
	if _, err := ssh.ParseRawPrivateKey(data); !errors.As(err, &locked) {
		t.Errorf("the key has no passphrase: %v", err)
	}
	if _, err := ssh.ParseRawPrivateKeyWithPassphrase(data, []byte(secret)); err != nil {
		t.Errorf("the key has another passphrase: %v", err)
	}
	before, _ := os.ReadFile(filepath.Join(home, ".ssh", "config"))
	out, code = program(t, nil, "init", "--yes")
	after, _ := os.ReadFile(filepath.Join(home, ".ssh", "config"))
	if code != 0 || !bytes.Equal(before, after) || !strings.Contains(out, "already") {
		t.Errorf("the second time: code %d, %q: %s", code, after, out)
	}
}

// declinedCode is the exit code of every command whose question is answered with no.
const declinedCode = 130

func TestInitOnTerminal(t *testing.T) {
	home := newLaptop(t)
	write(t, filepath.Join(home, ".ssh", "config"), "Host gpu1\n", 0o600)
	passphrases := [][2]string{{"(empty for no passphrase)", secret}, {"same passphrase again", secret}}
	out, code := onTTY(t, append(passphrases, [2]string{"[Y/n]", "n"}), "init")
	if data, _ := os.ReadFile(filepath.Join(home, ".ssh", "config")); code != declinedCode || string(data) != "Host gpu1\n" {
		t.Errorf("no was taken for yes: code %d, %q\n%s", code, data, out)
	}
	out, code = onTTY(t, [][2]string{{"[Y/n]", ""}}, "init")
	data, _ := os.ReadFile(filepath.Join(home, ".ssh", "config"))
	if code != 0 || !strings.HasPrefix(string(data), "Include ") || !strings.HasSuffix(string(data), "\nHost gpu1\n") {
		t.Errorf("code %d, %q\n%s", code, data, out)
	}
	if !strings.Contains(out, "+Include ") {
		t.Errorf("the change was not shown:\n%s", out)
	}
	codes := map[string]int{"n": declinedCode}
	for answer, want := range map[string]string{"n": string(data), "": "Host gpu1\n"} {
		write(t, filepath.Join(home, ".ssh", "config"), string(data), 0o600)
		out, code := onTTY(t, [][2]string{{"[Y/n]", answer}}, "init", "--undo")
		if left, _ := os.ReadFile(filepath.Join(home, ".ssh", "config")); code != codes[answer] || string(left) != want || !strings.Contains(out, "-Include ") {
			t.Errorf("undone with %q: code %d, %q\n%s", answer, code, left, out)
		}
	}
}

// TestInitMakesNoSecondKey checks that init makes no key if the user's only key is in an agent,
// which may be locked, with its public half in ~/.ssh.
func TestInitMakesNoSecondKey(t *testing.T) {
	home := newLaptop(t)
	path := lockedKey(t, home)
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	askpass(t, home, secret)
	t.Setenv("SSH_AUTH_SOCK", stockAgent(t, home))
	add := exec.Command("ssh-add", path)
	add.Env = append(os.Environ(), "SSH_ASKPASS_REQUIRE=force")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{"your agent holds: 1 key", "making no key"} {
		out, code := program(t, nil, "init", "--yes")
		now, _ := os.ReadFile(path + ".pub")
		if _, err := os.Stat(path); code != 0 || err == nil || !bytes.Equal(now, public) || !strings.Contains(out, said) {
			t.Errorf("want %q: code %d, the public half is %q, was %q: %s", said, code, now, public, out)
		}
		if said == "your agent holds: 1 key" {
			if out, code := program(t, nil, "unlock"); code != 0 || !strings.Contains(out, "nothing to unlock") {
				t.Errorf("unlock: code %d: %s", code, out)
			}
		}
		t.Setenv("SSH_AUTH_SOCK", "")
	}
}

func TestUndoOfInitAsksNobody(t *testing.T) {
	home := newLaptop(t)
	lockedKey(t, home)
	if out, code := program(t, nil, "init", "--yes"); code != 0 {
		t.Fatalf("code %d: %s", code, out)
	}
	if out, code := program(t, nil, "init", "--undo"); code != keyway.ExitCode(keyway.Errorf(keyway.NeedsAnswer, "")) || !strings.Contains(out, "--undo --yes") {
		t.Errorf("code %d: %s", code, out)
	}
	for _, said := range []string{"-Include ", "does not include"} {
		if out, code := program(t, nil, "init", "--undo", "--yes"); code != 0 || !strings.Contains(out, said) {
			t.Errorf("want %q: code %d: %s", said, code, out)
		}
	}
}

func TestInitAsksNobody(t *testing.T) {
	home := newLaptop(t)
	lockedKey(t, home)
	out, code := program(t, nil, "init")
	if code != keyway.ExitCode(keyway.Errorf(keyway.NeedsAnswer, "")) || !strings.Contains(out, "--yes") {
		t.Errorf("code %d: %s", code, out)
	}
	if _, err := os.Stat(filepath.Join(home, ".ssh", "config")); err == nil {
		t.Error("the file was made all the same")
	}
}

func TestUnlockInScript(t *testing.T) {
	home := newLaptop(t)
	endAgent(t)
	t.Setenv("SSH_ASKPASS", "")
	if out, code := program(t, nil, "unlock"); code != keyway.ExitCode(keyway.Errorf(keyway.NoKey, "")) || !strings.Contains(out, "keyway init") {
		t.Errorf("without a key: code %d: %s", code, out)
	}
	lockedKey(t, home)
	if out, code := program(t, nil, "unlock"); code != keyway.ExitCode(keyway.Errorf(keyway.NeedsAnswer, "")) {
		t.Errorf("with nobody there: code %d: %s", code, out)
	}
	askpass(t, home, "wrong")
	if out, code := program(t, nil, "unlock"); code != keyway.ExitCode(keyway.Errorf(keyway.WrongPassphrase, "")) {
		t.Errorf("wrong passphrase: code %d: %s", code, out)
	}
	askpass(t, home, secret)
	if out, code := program(t, nil, "unlock"); code != 0 {
		t.Errorf("code %d: %s", code, out)
	}
	t.Setenv("SSH_ASKPASS", "/nonexistent") // unlock does not ask for a key that is unlocked
	if out, code := program(t, nil, "unlock"); code != 0 || !strings.Contains(out, "already") {
		t.Errorf("the second time: code %d: %s", code, out)
	}
	if by, _ := doctor(t); by["agent"][0].Message != "it holds 1 key" {
		t.Errorf("%+v", by["agent"])
	}
	if out, code := program(t, nil, "lock"); code != 0 {
		t.Errorf("code %d: %s", code, out)
	}
	if by, _ := doctor(t); by["agent"][0].Health != laptop.Warning {
		t.Errorf("after lock: %+v", by["agent"])
	}
}

// TestLockFindsEveryAgent checks that lock also reaches agents of commands with another
// XDG_RUNTIME_DIR.
func TestLockFindsEveryAgent(t *testing.T) {
	home := newLaptop(t)
	endAgent(t)
	lockedKey(t, home)
	askpass(t, home, secret)
	unlock := func() string {
		t.Helper()
		if out, code := program(t, nil, "unlock"); code != 0 {
			t.Fatalf("code %d: %s", code, out)
		}
		return filepath.Join(runtimeDir(t), dirs.AgentSocket)
	}
	holds := func(socket string) bool {
		cmd := exec.Command("ssh-add", "-l")
		cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		return cmd.Run() == nil
	}
	first := unlock()
	other := filepath.Join(home, "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", other)
	endAgent(t)
	lock := func(want string) {
		t.Helper()
		if out, code := program(t, nil, "lock"); code != 0 || !strings.Contains(out, want) || holds(first) {
			t.Errorf("code %d, the key is held: %v: %s", code, holds(first), out)
		}
	}
	if by, _ := doctor(t); len(by["agent"]) != 2 || !strings.Contains(by["agent"][1].Message, first) {
		t.Errorf("the doctor says %+v", by["agent"])
	}
	lock("locked; ") // where this environment has no agent
	unlock()
	t.Setenv("XDG_RUNTIME_DIR", home)
	unlock()
	t.Setenv("XDG_RUNTIME_DIR", other)
	lock("2 agents")
	if by, _ := doctor(t); len(by["agent"]) != 1 {
		t.Errorf("the doctor says %+v", by["agent"])
	}
}

func TestUnlockOnTerminal(t *testing.T) {
	home := newLaptop(t)
	endAgent(t)
	key := lockedKey(t, home)
	out, code := onTTY(t, [][2]string{{"Enter passphrase", "wrong"}, {"try again", secret}}, "unlock", "-t", "1h")
	if code != 0 || !strings.Contains(out, "unlocked "+key) || strings.Contains(out, secret) {
		t.Errorf("code %d:\n%s", code, out)
	}
}

func TestUnlockForgetsOnTriggers(t *testing.T) {
	home := newLaptop(t)
	endAgent(t)
	lockedKey(t, home)
	askpass(t, home, secret)
	if out, code := program(t, nil, "unlock", "--forget-on", "lunch"); code != keyway.ExitCode(keyway.Errorf(keyway.Usage, "")) || !strings.Contains(out, "idle=TIME") {
		t.Errorf("code %d: %s", code, out)
	}
	if out, code := program(t, nil, "unlock", "--forget-on", "idle=1s"); code != 0 {
		t.Fatalf("code %d: %s", code, out)
	}
	await.That(t, "the key is forgotten", func() bool {
		out, _ := program(t, nil, "log")
		return strings.Contains(out, "forgotten: no signature for 1s")
	})
	if out, code := program(t, nil, "keys"); code != keyway.ExitCode(keyway.Errorf(keyway.NoKey, "")) {
		t.Errorf("code %d: %s", code, out)
	}
}

// TestAgentFollowsFiles checks that a certificate that another program renews beside the key is
// used from then on, and that the agent forgets a key whose file is removed.
func TestAgentFollowsFiles(t *testing.T) {
	home := newLaptop(t)
	endAgent(t)
	key := lockedKey(t, home)
	ca := filepath.Join(home, "ca")
	sign := func(serial string) {
		t.Helper()
		for _, argv := range [][]string{
			{"ssh-keygen", "-q", "-s", ca, "-I", "me", "-n", "root", "-z", serial, "-V", "+" + serial + "h", key + ".pub"},
		} {
			if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", ca).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	sign("1")
	askpass(t, home, secret)
	if out, code := program(t, nil, "unlock"); code != 0 {
		t.Fatalf("code %d: %s", code, out)
	}
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(runtimeDir(t), "agent.sock"))
	listed := func() string {
		out, _ := exec.Command("ssh-add", "-L").Output()
		return string(out)
	}
	sign("2")
	renewed, err := os.ReadFile(key + "-cert.pub")
	if err != nil {
		t.Fatal(err)
	}
	await.That(t, "the key is renewed", func() bool { return strings.Contains(listed(), strings.Fields(string(renewed))[1]) }, listed)
	if n := strings.Count(listed(), "\n"); n != 2 {
		t.Errorf("%d keys:\n%s", n, listed())
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	await.That(t, "the key is forgotten", func() bool { return strings.Count(listed(), "ssh-") == 0 }, listed)
}

// TestTheLogIsEmpty checks that keyway log reports that nothing has been logged, beside its output.
func TestTheLogIsEmpty(t *testing.T) {
	newLaptop(t)
	for _, line := range []string{"log", "log --json", "log -n 3"} {
		if said, code := program(t, nil, strings.Fields(line)...); code != 0 || said != "the log is empty: keyway's agent has not been used\n" {
			t.Errorf("%s exits with %d and says %q", line, code, said)
		}
	}
}
