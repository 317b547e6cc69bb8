//go:build unix

package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/sshconfig"
)

// newLaptop sets up a home directory and sockets for the test, without an agent.
func newLaptop(t *testing.T) (home string) {
	t.Helper()
	home, err := os.MkdirTemp("/tmp", "kw") // short, for the sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	t.Setenv("HOME", home)
	t.Setenv("XDG_RUNTIME_DIR", home)
	for _, v := range []string{"XDG_CONFIG_HOME", "XDG_STATE_HOME", "SSH_AUTH_SOCK"} {
		t.Setenv(v, "")
	}
	return home
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// doctor runs the command and returns its findings by the name of the check.
func doctor(t *testing.T) (map[string][]laptop.Finding, error) {
	t.Helper()
	t.Setenv(envMain, "1") // for the node that it starts
	var out strings.Builder
	err := runDoctor(t.Context(), true, &out)
	var report struct {
		OK     bool
		Checks []laptop.Finding
	}
	if e := json.Unmarshal([]byte(out.String()), &report); e != nil {
		t.Fatalf("%v: %s", e, out.String())
	}
	if report.OK != (err == nil) {
		t.Errorf("it says ok: %v and ends with %v", report.OK, err)
	}
	by := map[string][]laptop.Finding{}
	for _, f := range report.Checks {
		if f.Health != laptop.Healthy && f.Next == "" {
			t.Errorf("%s: %q has no next step", f.Check, f.Message)
		}
		by[f.Check] = append(by[f.Check], f)
	}
	return by, err
}

func worst(findings []laptop.Finding) laptop.Health {
	h := laptop.Healthy
	for _, f := range findings {
		if f.Health == laptop.Failing || f.Health == laptop.Warning && h == laptop.Healthy {
			h = f.Health
		}
	}
	return h
}

func TestDoctorOnNewLaptop(t *testing.T) {
	home := newLaptop(t)
	by, err := doctor(t)
	if keyway.ExitCode(err) != 1 {
		t.Errorf("exit code %d", keyway.ExitCode(err))
	}
	for check, want := range map[string]laptop.Health{"ssh": laptop.Healthy, "key": laptop.Warning, "agent": laptop.Warning, "ssh_config": laptop.Failing, "sockets": laptop.Healthy, "state": laptop.Healthy, "link": laptop.Healthy, "workspaces": laptop.Healthy} {
		if got := worst(by[check]); got != want || len(by[check]) == 0 {
			t.Errorf("%s is %s, want %s: %v", check, got, want, by[check])
		}
	}
	if left, _ := filepath.Glob(filepath.Join(home, "keyway", ".doctor-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDoctorFindsOpenFiles(t *testing.T) {
	home := newLaptop(t)
	write(t, filepath.Join(home, ".ssh", "config"), "", 0o666)
	write(t, filepath.Join(home, ".ssh", "id_ed25519"), "x", 0o644)
	by, err := doctor(t)
	if err == nil {
		t.Error("nothing failed")
	}
	for check, next := range map[string]string{"~/.ssh": "chmod go-w", "key": "chmod 600"} {
		if f := by[check]; worst(f) != laptop.Failing || !strings.Contains(f[0].Next, next) {
			t.Errorf("%s: %+v", check, f)
		}
	}
}

func TestDoctorAfterInit(t *testing.T) {
	home := newLaptop(t)
	write(t, filepath.Join(home, ".ssh", "id_ed25519"), "x", 0o600)
	a, err := newApp()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Hosts.Sync(); err != nil {
		t.Fatal(err)
	}
	change, err := sshconfig.PlanInclude(home, a.Hosts.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	if err := change.Apply(); err != nil {
		t.Fatal(err)
	}
	if by, err := doctor(t); err != nil {
		t.Errorf("%v: %+v", err, by)
	}
}

func TestDoctorMeetsBrokenRegistry(t *testing.T) {
	home := newLaptop(t)
	write(t, filepath.Join(home, ".local/state/keyway/hosts.json"), "{", 0o600)
	if by, _ := doctor(t); worst(by["workspaces"]) != laptop.Failing {
		t.Errorf("%+v", by["workspaces"])
	}
}

func TestDoctorCountsKeys(t *testing.T) {
	home := newLaptop(t)
	socket := filepath.Join(home, "agent")
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { agent.Process.Kill(); agent.Wait() })
	t.Setenv("SSH_AUTH_SOCK", socket)
	answers := func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	for !answers() {
		if t.Context().Err() != nil {
			t.Fatal("the agent does not start")
		}
	}
	if by, _ := doctor(t); !strings.Contains(by["agent"][0].Message, "no key") {
		t.Errorf("%+v", by["agent"])
	}
	for i := range 2 {
		key := filepath.Join(home, strconv.Itoa(i))
		for _, args := range [][]string{{"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key}, {"ssh-add", "-q", key}} {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v: %s", args, err, out)
			}
		}
	}
	if by, _ := doctor(t); by["agent"][0].Message != "it holds 2 keys" {
		t.Errorf("%+v", by["agent"])
	}
}
