//go:build linux

package words

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// foreign are variables of the terminal, or the connection, from which a session is started, each
// with a unique value.
var foreign = []string{
	"TERM=xterm-ghostty", "COLORTERM=8bit", "TERM_PROGRAM=ghostty", "TERM_PROGRAM_VERSION=1", "TERM_SESSION_ID=1", "TERMINFO=/laptop", "TERMCAP=x",
	"SSH_TTY=/dev/pts/999", "SSH_CLIENT=192.0.2.1 1 22", "SSH_CONNECTION=192.0.2.1 1 192.0.2.2 22", "DISPLAY=localhost:10.0", "XAUTHORITY=/x",
	"LINES=1", "COLUMNS=2", "COLORFGBG=0;15", "WINDOWID=3", "GPG_TTY=/dev/pts/999", "TMUX=/t,1,0", "TMUX_PANE=%1", "STY=1.x", "WINDOW=1",
	"LC_TERMINAL=iTerm2", "ITERM_SESSION_ID=1", "VTE_VERSION=7000", "KITTY_WINDOW_ID=1", "KONSOLE_VERSION=1", "ALACRITTY_SOCKET=/a",
	"WEZTERM_PANE=0", "GHOSTTY_BIN_DIR=/g", "WT_SESSION=1", "ZELLIJ=0", "VSCODE_IPC_HOOK_CLI=/v", "NVIM=/n",
}

func TestAJobKnowsNothingOfItsFirstTerminal(t *testing.T) {
	l := newLab(t)
	env := func(args ...string) map[string]string {
		p := l.cmd(append(append([]string{"run"}, args...), "--", "env")...)
		p.Env = append(append(p.Env, foreign...), "OWN=kept", "LANG=C.UTF-8", "SSH_AUTH_SOCK=/a")
		r := l.finish(p)
		if r.code != 0 {
			t.Fatalf("%v: %+v", args, r)
		}
		got := map[string]string{}
		for line := range strings.Lines(r.out) {
			name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
			got[name] = value
		}
		if got["OWN"] != "kept" || got["LANG"] != "C.UTF-8" || got["SSH_AUTH_SOCK"] != "/a" {
			t.Errorf("%v: of its own it has %v", args, got)
		}
		return got
	}
	for _, args := range [][]string{{"-t"}, {"-T"}} {
		got := env(args...)
		for _, f := range foreign {
			name, value, _ := strings.Cut(f, "=")
			if got[name] == value && !(args[0] == "-T" && (name == "TERM" || name == "COLORTERM")) {
				t.Errorf("%v: the job has %s", args, f)
			}
		}
		if args[0] == "-t" && (got["TERM"] != "xterm-256color" || got["COLORTERM"] != "truecolor") {
			t.Errorf("TERM=%s COLORTERM=%s", got["TERM"], got["COLORTERM"])
		}
	}
	p := l.cmd("run", "-T", "--", "sh", "-c", "echo $DISPLAY $XAUTHORITY")
	p.Env = append(p.Env, "DISPLAY=:99", "XAUTHORITY=/x") // the workspace's own
	if r := l.finish(p); r.out != ":99 /x\n" {
		t.Errorf("%+v", r)
	}
}

// TestTheEraseKeyIsTheUsers checks that the job's terminal erases with the key of the user's
// terminal, and erases whole characters.
func TestTheEraseKeyIsTheUsers(t *testing.T) {
	l := newLab(t)
	// The terminal of the viewer gets its erase key first.
	p := l.startShellTTY(`stty erase ^H; "$0" run --as x -- sh -c 'stty -a; read x; echo "got $x."'`)
	before := p.out.expect(t, "susp")
	if !strings.Contains(before, "erase = ^H") {
		t.Errorf("stty says %q", before)
	}
	p.out.expect(t, " iutf8")
	p.keys("wé\b\bxy\r")
	p.out.expect(t, "got xy.")
	p.wait()
	l.ok("run", "-d", "-t", "--as", "y", "--", "sh", "-c", "stty -a")
	l.ok("wait", "y")
	if got := l.ok("logs", "y"); !strings.Contains(got, "erase = ^?") || !strings.Contains(got, " iutf8") {
		t.Errorf("without a terminal: %q", got)
	}
}

// TestASessionIsNotShownInItself checks that a session is not shown within itself, however it is
// reached, and that it is shown elsewhere, whatever the variables say.
func TestASessionIsNotShownInItself(t *testing.T) {
	l := newLab(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Fatal(err)
	}
	for name, wrap := range map[string]string{
		"plain":           `"$P" attach x`,
		"view":            `"$P" attach --view x`,
		"no variable":     `env -u KEYWAY_SESSION "$P" attach x`,
		"another session": `env KEYWAY_SESSION=y "$P" attach x`,
		"other ancestors": `(setsid "$P" attach x & ) ; sleep 3`,
	} {
		cmd := l.cmd("run", "-t", "--as", "x", "--", "sh", "-c", wrap)
		cmd.Env = append(cmd.Env, "P="+program)
		if r := l.finish(cmd); !strings.Contains(r.out, "inside itself") {
			t.Errorf("%s: %+v", name, r)
		}
		l.keyway("kill", "--grace", "0", "x")
	}
	l.ok("run", "-d", "-t", "--as", "x", "--", "sh", "-c", "echo shown; exec sleep 1000")
	tty, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/0", l.session("x").Job), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	within := l.cmd("attach", "x")
	within.Stdin, within.Stdout = tty, tty
	if said, _ := within.StderrPipe(); said != nil && within.Start() == nil {
		if text, _ := io.ReadAll(said); !strings.Contains(string(text), "inside itself") || within.Wait() == nil {
			t.Errorf("on the job's terminal: %s", text)
		}
	}
	cmd := l.cmd("attach", "x")
	cmd.Env = append(cmd.Env, "KEYWAY_SESSION=x") // of another session of that name
	out := newExpecter()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.expect(t, "shown")
	_ = cmd.Process.Signal(unix.SIGKILL)
	_ = cmd.Wait()
	// A session that was started in another one is not that one.
	l.ok("run", "-t", "--as", "outer", "--", program, "run", "-d", "-t", "--as", "inner", "--", program, "attach", "x")
	p := l.startTTY(24, 80, "attach", "inner")
	p.out.expect(t, "shown")
	p.kill()
}
