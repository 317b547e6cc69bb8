//go:build linux

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/sshconfig"
)

// TestMarksInOneFile checks that the marks of both streams are taken out where both lead to one file,
// also if ssh writes one stream in the middle of a mark in the other.
func TestMarksInOneFile(t *testing.T) {
	both, err := os.Create(filepath.Join(t.TempDir(), "both"))
	if err != nil {
		t.Fatal(err)
	}
	defer both.Close()
	var stored outputs
	to := stored.of(both)
	r := &resumption{}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `w="${RESUME_MARKS%% *}"
printf '\033]%s;1;7;0;\a\033]%s;1;7' "$w" "$w"
printf '\033]%s;2;7;0;\aan error\n\033]%s;2;7;8;\a' "$w" "$w" >&2
printf ';0;\aoutput\n\033]%s;1;7;9;\a' "$w"`)
	cmd.Stdout, cmd.Stderr = r.outputs(t.Context(), to, to, false)
	cmd.Env = r.environ()
	if err := cmd.Run(); err != nil || r.flush() != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(read(t, both.Name())), "\n")
	slices.Sort(lines)
	if want := []string{"", "an error\n", "output\n"}; !slices.Equal(lines, want) {
		t.Errorf("the file has %q, want %q", lines, want)
	}
	if request := r.environ()[0]; !strings.HasSuffix(request, " 1;7;9; 2;7;8;") {
		t.Errorf("it continues by %q", request)
	}
}

// TestTheTerminalIsAlsoTheProxys checks that the ssh of a command that follows a job has the user's
// terminal as its standard error, or that its proxy command knows the terminal.
func TestTheTerminalIsAlsoTheProxys(t *testing.T) {
	printingJob(t, `[ -t 2 ] && echo "a terminal, $KEYWAY_OWN_SSH" || echo "a pipe, $KEYWAY_OWN_SSH"`)
	for line, want := range map[string]string{
		"logs -f train/x": "a terminal, 1", "logs -f --raw train/x": "a pipe, terminal", "wait train/x": "a terminal, 1",
	} {
		if said, code := onTTY(t, nil, strings.Fields(line)...); code != 0 || !strings.Contains(said, want) {
			t.Errorf("%s exits with %d; ssh has %s, want %s", line, code, said, want)
		}
	}
	if said, _ := program(t, nil, "logs", "-f", "train/x"); !strings.Contains(said, "a pipe, 1") {
		t.Errorf("without a terminal, ssh has %s", said)
	}
}

// TestModesEndWithEachConnection checks that what a log has switched on in the terminal is off when
// its connection has broken, also if the log then continues.
func TestModesEndWithEachConnection(t *testing.T) {
	calls := filepath.Join(t.TempDir(), "calls")
	printingJob(t, `w="${RESUME_MARKS%% *}"
echo >>`+calls+`
case $(($(wc -l <`+calls+`))) in
1) printf '\033]%s;1;7;0;\a\033[?1000hbegun\033]%s;1;7;5;\a' "$w" "$w"
	echo 'client_loop: send disconnect: Broken pipe' >"$2"; exit 255;;
2) exit 0;;
esac
printf '\033]%s;1;7;5;\athe end\n' "$w"`)
	said, code := onTTY(t, nil, "logs", "-f", "train/x")
	_, after, begun := strings.Cut(said, "\x1b[?1000hbegun")
	undone, _, ended := strings.Cut(after, "the end")
	if code != 0 || !begun || !ended || !strings.Contains(undone, "\x1b[?1000l") {
		t.Errorf("it exits with %d and shows %q", code, said)
	}
}

// TestReaderOfALogGoes checks that a log whose reader has ended prints no error, and leaves no
// file.
func TestReaderOfALogGoes(t *testing.T) {
	printingJob(t, `w="${RESUME_MARKS%% *}"
while printf '\033]%s;1;7;0;\ay\n' "$w"; do :; done 2>/dev/null; exit 141`)
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", `"$0" logs -f train/x | head -n 1; exit ${PIPESTATUS[0]}`, os.Args[0])
	cmd.Env = append(os.Environ(), envMain+"=1", "TMPDIR="+dir)
	said, _ := cmd.CombinedOutput()
	left, err := os.ReadDir(dir)
	if code := cmd.ProcessState.ExitCode(); code != int(brokenPipe) || string(said) != "y\n" || len(left) > 0 || err != nil {
		t.Errorf("it exits with %d and says %q; %v is left, %v", code, said, left, err)
	}
}

// TestAReaderThatStops checks that a signal ends a followed log whose output is not read.
func TestAReaderThatStops(t *testing.T) {
	printingJob(t, `w="${RESUME_MARKS%% *}"
while printf '\033]%s;1;7;0;\ay\n' "$w"; do :; done 2>/dev/null`)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "logs", "-f", "train/x")
	cmd.Env = append(os.Environ(), envMain+"=1")
	cmd.Stdout = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		waiting, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
		if size, sizeErr := unix.FcntlInt(r.Fd(), unix.F_GETPIPE_SZ, 0); err == nil && sizeErr == nil && waiting == size {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are in the pipe, %v", waiting, err)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 128+int(syscall.SIGTERM) {
		t.Errorf("it ends with %v", cmd.ProcessState)
	}
}

// TestALinkThatEndsTwice checks that a command that follows a job continues if the link ends again
// while ssh returns to the workspace, and ends if the place refuses.
func TestALinkThatEndsTwice(t *testing.T) {
	home := lyingPlace(t)
	state, err := dirs.State()
	if err != nil {
		t.Fatal(err)
	}
	here := sshconfig.Entry{
		Name: "here", Place: keyway.Local, Engine: "host", User: "ada", Created: time.Now(),
		HostKey: strings.TrimSpace(string(read(t, filepath.Join(home, ".ssh", "id.pub")))),
	}
	if err := sshconfig.Open(state, sshconfig.Client{Program: os.Args[0]}).Add(here); err != nil {
		t.Fatal(err)
	}
	openssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	calls := filepath.Join(home, "calls")
	write(t, filepath.Join(home, ".ssh", "config"), "Include "+filepath.Join(home, "state", "keyway", "ssh_config")+"\n", 0o600)
	write(t, filepath.Join(home, "bin", "ssh"), `#!/bin/sh
case " $* " in
*" -G "*|*" -V "*) exec `+openssh+` "$@";;
*" train "*|*" here "*) ;;
*) while [ "$1" != -E ]; do shift; done # the link's own, to the place
	echo 'ada@gpu1: Permission denied (publickey).' >"$2"; exit 255;;
esac
echo >>`+calls+`
case $(($(wc -l <`+calls+`))) in
1) echo 'client_loop: send disconnect: Broken pipe' >"$2"; exit 255;;
2) echo 'kex_exchange_identification: Connection closed by remote host' >"$2"; exit 255;;
3) exit 0;;
4) exit 7;;
esac
exit 99
`, 0o755)
	for _, c := range []struct {
		job         string
		code, calls int
	}{{"here/x", 7, 4}, {"train/x", sshFailed, 2}} {
		if err := os.RemoveAll(calls); err != nil {
			t.Fatal(err)
		}
		said, code := program(t, nil, "wait", c.job)
		if made := bytes.Count(read(t, calls), []byte("\n")); code != c.code || made != c.calls {
			t.Errorf("wait %s exits with %d after %d calls of ssh, want %d after %d: %s", c.job, code, made, c.code, c.calls, said)
		}
	}
}

// TestASlowLinkRefusesNothing checks that a command that follows a job continues if the link does
// not answer in time on the way back, and not if the user interrupts it.
func TestASlowLinkRefusesNothing(t *testing.T) {
	lyingPlace(t)
	a, entry, err := appFor("train")
	if err != nil {
		t.Fatal(err)
	}
	own, err := newSSHWords()
	if err != nil {
		t.Fatal(err)
	}
	defer own.remove()
	write(t, own.path, proxyEnded+"Connection closed by remote host\n", 0o600)
	late, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	ended, end := context.WithCancel(t.Context())
	end()
	way := &wayBack{app: a, to: entry, own: own, taken: true}
	if open, after := way.stillOpen(late), way.stillOpen(ended); !open || after {
		t.Errorf("the way back is open: %t if the link is late, %t after Ctrl-C; want true and false", open, after)
	}
}

// TestWaitKnowsTheJobsOwn255 checks that wait continues after an ssh that ended without a message, as
// it does when its connection breaks at the wrong moment, until the guest marks 255 as the job's exit
// code.
func TestWaitKnowsTheJobsOwn255(t *testing.T) {
	calls := filepath.Join(t.TempDir(), "calls")
	for last, code := range map[string]int{
		`printf '\033]%s;1;7;1;\a' "$w"; exit 255`: sshFailed,
		`exit 5`: 5,
	} {
		printingJob(t, `case " $* " in *" train "*) ;; *) exit 255;; esac
for last; do :; done
[ "$last" = true ] && exit 0
w="${RESUME_MARKS%% *}"
printf '\033]%s;1;7;0;\a' "$w"
echo >>`+calls+`
[ $(($(wc -l <`+calls+`))) -le 3 ] && exit 255
`+last)
		if said, got := program(t, nil, "wait", "train/x"); got != code || strings.Contains(said, "broke") {
			t.Errorf("%s: wait exits with %d and says %q, want %d", last, got, said, code)
		}
		if made := bytes.Count(read(t, calls), []byte("\n")); made != 4 {
			t.Errorf("%s: it ends after %d calls, want 4", last, made)
		}
		if err := os.Remove(calls); err != nil {
			t.Fatal(err)
		}
	}
}
