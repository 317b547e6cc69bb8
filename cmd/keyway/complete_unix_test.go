//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/sshconfig"
)

// TestCompletionOfHostsInTheConfiguration checks that the hosts of ssh's configuration are
// completed as places, including those of included files, without patterns and other words that
// cannot be places. Completion runs no program for this, and a file that cannot be read does not
// delay it.
func TestCompletionOfHostsInTheConfiguration(t *testing.T) {
	home := t.TempDir()
	for name, dir := range map[string]string{"HOME": "", "XDG_STATE_HOME": "state", "XDG_CONFIG_HOME": "config", "XDG_RUNTIME_DIR": "run"} {
		t.Setenv(name, filepath.Join(home, dir))
	}
	ran := filepath.Join(home, "ran")
	for name, text := range map[string]string{
		"config": "Include conf.d/*\nInclude pipe missing loop\nHost gpu1 gpu2 *.lab !gpu3 gpu?\nHost -oProxyCommand=x\nHost \"two words\"\n" +
			"Match host gpu4 exec \"touch " + ran + "\"\nHost gpu1\n",
		"conf.d/more": "Host gpu5\nProxyCommand touch " + ran + "\nHost *\n",
		"loop":        "Include loop\nHost gpu6\n",
	} {
		path := filepath.Join(home, ".ssh", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, text, 0o600)
	}
	if err := syscall.Mkfifo(filepath.Join(home, ".ssh", "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, directive := completePlaces(nil, nil, "")
	for _, want := range []string{"local", "gpu1", "gpu2", "gpu4", "gpu5", "gpu6"} {
		if n := len(slices.DeleteFunc(slices.Clone(got), func(c string) bool { return c != want })); n != 1 {
			t.Errorf("%s is offered %d times: %q", want, n, got)
		}
	}
	if directive != cobra.ShellCompDirectiveNoFileComp || slices.ContainsFunc(got, func(c string) bool { return strings.ContainsAny(c, "*?! =") || c == "gpu3" }) {
		t.Errorf("offered: %q, %d", got, directive)
	}
	if known, _ := completeForget(nil, nil, ""); slices.Contains(known, "gpu1") {
		t.Errorf("a place that is not known can be forgotten: %q", known)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a program of the configuration was run")
	}
}

// TestCompletionWithoutThePackage checks completion in a bash that has only the script that keyway
// prints.
func TestCompletionWithoutThePackage(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	if err := os.Symlink(os.Args[0], filepath.Join(home, "keyway")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "--norc", "--noprofile", "-c", `source <(keyway completion bash)
compopt() { :; }
COMP_WORDS=(keyway sta) COMP_CWORD=1 COMP_LINE='keyway sta' COMP_POINT=10 COMP_TYPE=9 COMP_KEY=9
__start_keyway
echo "${COMPREPLY[@]}"`)
	cmd.Env = append(os.Environ(), envMain+"=1", "PATH="+home+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if got := strings.Fields(string(out)); err != nil || !slices.Equal(got, []string{"start", "status"}) {
		t.Errorf("%v: %s", err, out)
	}
}

// TestACommandIsNoWorkspace checks that completion after a workspace offers commands, and no second
// workspace.
func TestACommandIsNoWorkspace(t *testing.T) {
	newLaptop(t)
	here, err := laptop.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIHwwKLJpGBg5hy8VRb3SB4lXAeEZaV2mVCnGYKMuhVb"
	for _, name := range []keyway.Name{"train", "other"} {
		if err := here.Hosts.Add(sshconfig.Entry{Name: name, Place: "gpu1", Engine: "docker", User: "root", HostKey: key}); err != nil {
			t.Fatal(err)
		}
	}
	if e := keyway.AsError(noCommand(newRootCommand(), "train")); e.Kind != keyway.Usage || !strings.Contains(e.Help(), "keyway ssh train") {
		t.Errorf("keyway train: %s; %s", e.Message, e.Help())
	}
	if got, _ := completeCommands(nil, nil, ""); len(got) != 2 {
		t.Errorf("workspaces: %q", got)
	}
	if got, then := completeCommands(nil, []string{"train"}, ""); len(got) != 0 || then != cobra.ShellCompDirectiveDefault {
		t.Errorf("of a place that is not up: %q, %d", got, then)
	}
	list := "python3\npython3.11\npy thon\npy$(x)\npython3\nperl\n\npy"
	if got, want := programNames([]byte(list), "py"), []string{"py", "python3", "python3.11"}; !slices.Equal(got, want) {
		t.Errorf("programs: %q, want %q", got, want)
	}
}
