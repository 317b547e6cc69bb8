//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"keyway/test/lab"
)

// personsTerminal is a user's terminal on the laptop: a window of a tmux of its own, with a shell
// in it.
type personsTerminal struct {
	t      *testing.T
	socket string
	name   string
}

// openTerminal opens one of a size.
func (w *world) openTerminal(t *testing.T, cols, rows int) *personsTerminal {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "keyway-e2e") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	v := &personsTerminal{t: t, socket: filepath.Join(dir, "tmux"), name: "main"}
	shell := w.command("sh", "-i")
	argv := append([]string{"env", "-i", "TERM=xterm-256color"}, shell.Env...)
	argv = append(append(argv, shell.Path), shell.Args[1:]...)
	v.tmux(append([]string{"-f", "/dev/null", "new-session", "-d", "-s", v.name, "-x", strconv.Itoa(cols), "-y", strconv.Itoa(rows), "--"}, argv...)...)
	t.Cleanup(func() {
		v.tmux("kill-server")
		os.RemoveAll(dir)
	})
	v.typeIn("PS1='laptop> '; clear\r")
	v.await("laptop>")
	return v
}

func (v *personsTerminal) tmux(args ...string) string {
	v.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", v.socket}, args...)...)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LC_ALL=C.UTF-8", "TMUX=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		v.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// typeIn types text unchanged.
func (v *personsTerminal) typeIn(text string) {
	v.t.Helper()
	keys := []string{"send-keys", "-t", v.name, "-H"}
	for _, c := range []byte(text) {
		keys = append(keys, fmt.Sprintf("%02x", c))
	}
	v.tmux(keys...)
}

// begin types a command into an empty window, so that the awaited output is this command's, and not
// the previous one's.
func (v *personsTerminal) begin(command string) {
	v.t.Helper()
	v.typeIn("clear\r")
	v.awaitThat("a clear window", func() bool { return strings.TrimSpace(v.shown()) == "laptop>" })
	v.typeIn(command + "\r")
}

// shown returns the present content of the window; with history, also the lines that have scrolled
// off.
func (v *personsTerminal) shown() string { return v.tmux("capture-pane", "-p", "-t", v.name) }

func (v *personsTerminal) history() string {
	return v.tmux("capture-pane", "-p", "-S", "-5000", "-t", v.name)
}

// is asks tmux for one of its variables.
func (v *personsTerminal) is(variable string) string {
	return strings.TrimSpace(v.tmux("display-message", "-p", "-t", v.name, "#{"+variable+"}"))
}

// awaitThat waits until the window satisfies a condition.
func (v *personsTerminal) awaitThat(what string, ok func() bool) {
	v.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			v.t.Fatalf("waited too long for %s; the window shows:\n%s", what, v.shown())
		}
	}
}

func (v *personsTerminal) await(text string) {
	v.t.Helper()
	v.awaitThat(strconv.Quote(text), func() bool { return strings.Contains(v.shown(), text) })
}

// fullScreen is a program that uses all of a terminal (alternate screen, mouse, bracketed paste, no
// cursor), and prints the terminal's size.
const fullScreen = `exec python3 -c '
import os, signal, time
def draw(*_): # not by sys.stdout, which a signal must not interrupt
    size = os.get_terminal_size()
    os.write(1, b"\033[2J\033[H\033[44mfull screen %dx%d\033[0m" % (size.columns, size.lines))
signal.signal(signal.SIGWINCH, draw)
os.write(1, b"\033[?1049h\033[?1000h\033[?1006h\033[?2004h\033[?25l")
draw()
while True: time.sleep(3600)
'`

// clean checks that nothing of a full-screen program is left in the window.
func (v *personsTerminal) clean() bool {
	return v.is("alternate_on") == "0" && v.is("mouse_any_flag") == "0" && v.is("mouse_sgr_flag") == "0" && v.is("cursor_flag") == "1"
}

func TestATerminalIsFoundAsItWas(t *testing.T) {
	t.Parallel()
	w := shared
	w.must(t, "keyway", "run", train, "-d", "-t", "--as", "lines", "--", "sh", "-c", "seq 1 300; printf '\\033[1;31mred\\033[0m> '; cat")
	v := w.openTerminal(t, 100, 30)
	v.typeIn("keyway attach " + train + "/lines\r")
	v.await("red>")
	for _, line := range []string{"\n1\n", "\n150\n", "\n300\n"} { // in the terminal's own scrollback
		holds(t, "the history", v.history(), line)
	}
	v.typeIn("typed\r")
	v.await("typed\ntyped")
	v.typeIn("~d")
	v.await("[detached")
	v.awaitThat("the prompt", func() bool { return strings.HasSuffix(strings.TrimSpace(v.shown()), "laptop>") })
	holds(t, "what the session showed stays", v.shown(), "typed\ntyped\n[detached")
	v.begin("keyway attach " + train + "/lines")
	v.awaitThat("the session again", func() bool { // not as it was shown before
		shown := v.shown()
		return strings.Contains(shown, "typed\ntyped") && !strings.Contains(shown, "[detached")
	})
	v.typeIn("\x04")
	v.await("lines ended: exit code 0]")
}

// TestNoPasteLeavesTheLaptop checks that escape sequences of ssh and keyway are plain text within
// a paste.
func TestNoPasteLeavesTheLaptop(t *testing.T) {
	t.Parallel()
	w := shared
	v := w.openTerminal(t, 100, 30)
	v.begin("keyway run " + train + " --as pasted -- sh -c 'stty raw -echo; printf ready-$((40+2)); exec cat >/tmp/pasted'")
	v.await("ready-42")
	var text strings.Builder
	for _, line := range []string{"~.", "~d", "~~", "~~.", "~~d", "~B", "~C", "~R", "~#", "~?", "~V", "~&", "~\x1a", "~dave/run.sh", "~", "é~.", "the end"} {
		text.WriteString("\r" + line + "\r")
	}
	v.tmux("set-buffer", "--", text.String())
	v.tmux("paste-buffer", "-r", "-t", v.name)
	v.awaitThat("the paste", func() bool {
		return w.do("ssh", train, "cat /tmp/pasted").Stdout == text.String() || strings.Count(v.shown(), "laptop>") > 1
	})
	equal(t, "what was pasted", w.must(t, "ssh", train, "cat /tmp/pasted"), text.String())
	var typed time.Time
	v.awaitThat("keys to leave", func() bool {
		if time.Since(typed) > 5*time.Second { // on a busy machine keys arrive together, as a paste does
			for _, key := range "\r~." {
				v.typeIn(string(key))
			}
			typed = time.Now()
		}
		return strings.Contains(v.shown(), "the job goes on as "+train+"/pasted")
	})
	w.must(t, "keyway", "kill", train+"/pasted")
}

// TestATerminalSurvivesWhatBreaks checks that the terminal works again, however a connection ends,
// and that the session continues and is shown as it was.
func TestATerminalSurvivesWhatBreaks(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	if err := w.unlockAndUp(); err != nil {
		t.Fatal(err)
	}
	w.must(t, "keyway", "run", train, "-d", "-t", "--as", "full", "--", "sh", "-c", fullScreen)
	v := w.openTerminal(t, 90, 25)
	attach := func() {
		v.begin("keyway attach " + train + "/full; echo left with $?")
		v.await("full screen 90x25")
		v.awaitThat("the modes", func() bool {
			return v.is("alternate_on") == "1" && v.is("mouse_sgr_flag") == "1" && v.is("cursor_flag") == "0"
		})
	}
	attach()
	v.tmux("resize-window", "-t", v.name, "-x", "80", "-y", "20")
	v.await("full screen 80x20")
	v.tmux("resize-window", "-t", v.name, "-x", "90", "-y", "25")
	v.await("full screen 90x25")
	sshes := func() []int { return w.Laptop.Processes("ssh") }
	for _, c := range []struct {
		what string
		kill func() error
	}{
		{"the viewer's ssh", func() error { return lab.Kill(syscall.SIGKILL, viewers(w)...) }},
		{"the link", func() error {
			return lab.Kill(syscall.SIGKILL, append(link(w), sshes()...)...)
		}},
	} {
		if err := c.kill(); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		v.awaitThat("the end of the command", func() bool { // not the words of the command itself
			return leftWith.MatchString(v.shown())
		})
		v.awaitThat("a clean terminal after "+c.what+" was killed", v.clean)
		v.begin("stty -a") // the shell has its keyboard back
		v.await(" icanon ")
		attach()
	}
	// The bastion may die: the connection resumes by itself, or is made again.
	w.Bastion.KillSSHD()
	w.Bastion.KillConnections()
	if err := w.Bastion.StartSSHD(); err != nil {
		t.Fatal(err)
	}
	v.tmux("resize-window", "-t", v.name, "-x", "85", "-y", "22")
	v.await("full screen 85x22")
	v.typeIn("\r~d")
	v.await("[detached")
	v.awaitThat("a clean terminal", v.clean)
	var list []struct{ Name, State string }
	if err := json.Unmarshal([]byte(w.must(t, "keyway", "ls", train, "--json")), &list); err != nil || len(list) != 1 || list[0].State != "running" {
		t.Errorf("%+v, %v", list, err)
	}
	// Each command that follows a job reports a stall, wherever its output goes.
	for _, c := range []struct{ job, follow string }{
		{"shown", "logs -f"}, {"bytes", "logs -f --raw"}, {"kept", "logs -f >/dev/null"}, {"awaited", "wait"},
	} {
		w.must(t, "keyway", "run", train, "-d", "--as", c.job, "--", "sleep", "1000")
		verb, to, _ := strings.Cut(c.follow, " >")
		if to != "" {
			to = " >" + to
		}
		v.begin("keyway " + verb + " " + train + "/" + c.job + to)
		w.awaitInside(t, train, "'keyway '*' "+c.job+" '", 1)
		w.Bastion.KillSSHD()
		w.Bastion.KillConnections()
		v.await("redialling gpu1")
		if err := w.Bastion.StartSSHD(); err != nil {
			t.Fatal(err)
		}
		v.awaitThat("the end of the stall", func() bool { return !strings.Contains(v.shown(), "redialling") })
		v.typeIn("\x03")
	}
}

// leftWith matches the shell's output after the end of keyway attach.
var leftWith = regexp.MustCompile(`left with \d`)

// viewers returns the ssh processes that show a session.
func viewers(w *world) []int { return withArgument(w.Laptop.Processes("ssh"), "attach") }

// link returns the laptop's link.
func link(w *world) []int { return withArgument(w.Laptop.Processes("keyway"), "link serve") }

// withArgument picks the processes that have a word in their command line.
func withArgument(pids []int, word string) (found []int) {
	for _, pid := range pids {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.Contains(strings.ReplaceAll(string(line), "\x00", " ")+" ", word) {
			found = append(found, pid)
		}
	}
	return found
}

// TestSeveralTerminalsShowOneSession checks two viewers of one terminal. It has the size of the
// viewer that typed last, and a viewer that only watches changes nothing.
func TestSeveralTerminalsShowOneSession(t *testing.T) {
	t.Parallel()
	w := shared
	w.must(t, "keyway", "run", train, "-d", "-t", "--as", "both", "--", "sh", "-c", fullScreen)
	a, b := w.openTerminal(t, 100, 30), w.openTerminal(t, 70, 20)
	a.typeIn("keyway attach " + train + "/both\r")
	a.await("full screen 100x30")
	b.typeIn("keyway attach " + train + "/both\r")
	b.await("full screen 70x20")
	a.await("full screen 70x20")
	a.typeIn("x")
	b.await("full screen 100x30")
	look := w.openTerminal(t, 60, 15)
	look.typeIn("keyway attach --view " + train + "/both\r")
	look.await("full screen 100x30")
	look.typeIn("y")
	a.tmux("resize-window", "-t", a.name, "-x", "99", "-y", "29") // comes after y
	look.await("full screen 99x29")
	look.typeIn("\x03")
	look.await("[detached")
	a.typeIn("\r~d")
	a.await("[detached")
	b.await("full screen 70x20")
	w.must(t, "keyway", "kill", train+"/both")
	b.awaitThat("a clean terminal", b.clean)
}

func TestCtrlCAsksOnTheLaptop(t *testing.T) {
	t.Parallel()
	w := shared
	v := w.openTerminal(t, 100, 30)
	v.typeIn("keyway run " + train + " --as ask -- sh -c 'echo beg''un; sleep 1000'; echo left with $?\r")
	v.await("begun")
	v.typeIn("\x03")
	v.await("[Ctrl-C: s stops train/ask")
	v.typeIn("l")
	v.await("left with 0")
	v.begin("keyway attach " + train + "/ask; echo left with $?")
	v.await("begun")
	w.must(t, "keyway", "send", train+"/ask", "C-c")
	v.await("left with 130")
}

// TestLogsFollowABar checks that a running progress bar is shown in its present state, and that
// Ctrl-C does not reach the job.
func TestLogsFollowABar(t *testing.T) {
	t.Parallel()
	w := shared
	w.must(t, "keyway", "run", train, "-d", "--as", "bar", "--", "sh", "-c", "printf '\\r10%%'; printf '\\r20%%'; exec sleep 1000")
	v := w.openTerminal(t, 100, 30)
	v.typeIn("keyway logs -f " + train + "/bar; echo left with $?\r")
	v.await("20%")
	v.typeIn("\x03")
	v.await("left with 130")
	w.must(t, "keyway", "kill", train+"/bar")
}

// TestJobsThatWereLeftAlone checks that the end of a job that was left alone is reported, and that
// every command reports that a workspace was stopped.
func TestJobsThatWereLeftAlone(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	if err := w.unlockAndUp(); err != nil {
		t.Fatal(err)
	}
	w.write(t, "/root/.config/keyway/config.yaml", "on-exit: [sh, -c, 'echo $KEYWAY_WORKSPACE/$KEYWAY_SESSION $KEYWAY_RESULT >>/root/told']\n")
	job := w.must(t, "keyway", "run", train, "-d", "--as", "short", "--", "sh", "-c", "until [ -e /tmp/end ]; do sleep 0.1; done; exit 3")
	equal(t, "the name", job, "short\n")
	if err := lab.Kill(syscall.SIGKILL, link(w)...); err != nil { // the next command starts it again
		t.Fatal(err)
	}
	w.must(t, "ssh", train, "touch /tmp/end")
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		told, err := w.Laptop.ReadFile("/root/told")
		if err == nil && told == "train/short failed with exit code 3\n" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("told %q, %v", told, err)
		}
	}
	w.must(t, "keyway", "run", train, "-d", "--as", "long", "--", "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
	if out, err := w.Docker("stop", "-t", "2", w.container(t, train)); err != nil { // too soon to note how the job ends
		t.Fatal(out, err)
	}
	for _, argv := range [][]string{
		{"keyway", "run", train, "--", "true"}, {"keyway", "attach", train + "/long"}, {"keyway", "logs", train + "/long"},
		{"keyway", "wait", train + "/long"}, {"keyway", "ls", train}, {"keyway", "send", train + "/long", "C-c"},
	} {
		if r := w.do(argv...); r.Code != 31 || !strings.Contains(r.Stderr, "keyway start gpu1/train") {
			t.Errorf("of a stopped workspace, want exit code 31: %s", r)
		}
	}
	w.must(t, "keyway", "start", train)
	holds(t, "what became of it", w.must(t, "keyway", "ls", train), "SIGKILL, the workspace was stopped")
	if r := w.do("keyway", "wait", train+"/long"); r.Code != 137 {
		t.Errorf("of a job that was killed with its workspace, want exit code 137: %s", r)
	}
}

// TestCtrlCAsksWhereTheOutputGoesElsewhere checks that Ctrl-C asks at the terminal even if the
// job's output goes elsewhere.
func TestCtrlCAsksWhereTheOutputGoesElsewhere(t *testing.T) {
	t.Parallel()
	w := shared
	for _, c := range []struct {
		answer, options string
		says            string // with the job's name
		code            int    // of the job; 0: it continues
	}{
		{"s", "", `\[` + train + `/(\S+) was sent SIGINT; see it: keyway logs`, 7},
		{"k", "--as told-to-end ", `\[(\S+) ended: SIGTERM`, 128 + 15},
		{"\x03", "", `\[the job goes on; see it: keyway ls (\S+)\]`, 0},
	} {
		v := w.openTerminal(t, 160, 30)
		v.typeIn("keyway run " + train + " " + c.options + "-- sh -c 'trap \"exit 7\" INT; echo beg\"\"un-" + c.options + "; while :; do sleep 0.1; done' | cat\r")
		v.await("begun")
		v.typeIn("\x03")
		v.await("[Ctrl-C: s stops the job, k kills it, any other key leaves it running]")
		v.typeIn(c.answer)
		var said []string
		v.awaitThat("what is done", func() bool {
			said = regexp.MustCompile(c.says).FindStringSubmatch(v.shown())
			return said != nil
		})
		if c.code == 0 {
			continue
		}
		if r := w.do("keyway", "wait", train+"/"+path.Base(said[1])); r.Code != c.code {
			t.Errorf("after the answer %q the job ends with another code than %d: %s", c.answer, c.code, r)
		}
	}
}
