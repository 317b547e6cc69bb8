//go:build linux

package mux

import (
	"strings"
	"testing"
)

// ours are keyway's own commands that reach into a workspace. JOB is a name that is used
// once.
var ours = []struct{ name, command string }{
	{"run", "keyway run train -- sh -c 'echo out; echo err >&2; exit 7'"},
	{"run, ended by a signal", "keyway run train --as JOB -- sh -c 'kill -TERM $$'"},
	{"run, no such program", "keyway run train -- no-such-program"},
	{"run's arguments", `keyway run train -- printf '%s|' 'a b' "it's" '$HOME' '' '*' 'é' '
'`},
	{"run's input", "printf abc | keyway run train -- md5sum"},
	{"run's input from nowhere", "keyway run train -- cat </dev/null"},
	{"run with much output", "keyway run train -- seq 200000 | md5sum"},
	{"run for a reader that goes", "keyway run train --as JOB -- yes 2>/dev/null | head -3; keyway kill --grace 0 train/JOB; keyway wait train/JOB"},
	{"run, interrupted", `keyway run train --as JOB -- sh -c 'echo begun; exec sleep 1000' >/tmp/JOB & until grep -q begun /tmp/JOB; do sleep 0.05; done
		kill -TERM $!; wait $!; echo $?; keyway kill --grace 0 train/JOB; keyway wait train/JOB`},
	{"run -d, wait, logs and attach", `keyway run train -d --as JOB -- sh -c 'echo out; echo err >&2; exit 3'
		keyway wait train/JOB; echo $?; keyway logs train/JOB; keyway logs --raw train/JOB; keyway attach train/JOB; echo $?`},
	{"logs -f", `keyway run train -d --as JOB -- sh -c 'seq 5000; until test -e /tmp/JOB; do sleep 0.05; done; echo last'
		ssh MODE train 'touch /tmp/JOB' & keyway logs -f train/JOB | md5sum; wait`},
	{"ls", "keyway run train -d --as JOB -- true; keyway wait train/JOB; keyway ls --json train | grep -c '\"JOB\"'; keyway ls train 2>/dev/null | grep -c JOB"},
	{"send", "keyway run train -d -t --as JOB -- sh -c 'read l; echo got $l'; keyway send train/JOB text Enter; keyway wait train/JOB; keyway logs train/JOB"},
	{"what is not there", "keyway logs train/nothing; echo $?; keyway wait train/nothing; echo $?; keyway attach train/nothing; echo $?"},
}

// TestMuxCarriesKeywaysCommands checks that keyway's own commands have their sessions on the mux's
// connection, too. They have the same results as without it, and none logs in.
func TestMuxCarriesKeywaysCommands(t *testing.T) {
	t.Parallel()
	w := muxed(t)
	if err := w.Laptop.WriteFile("/tmp/alone/ssh", "#!/bin/sh\nexec /usr/bin/ssh -o ControlPath=none \"$@\"\n", 0o755); err != nil {
		t.Fatal(err)
	}
	do := func(i int, command, job, path, mode string) result {
		job += string(rune('a' + i))
		r := w.do("bash", "-c", path+strings.NewReplacer("JOB", job, "MODE", mode).Replace(command))
		r.Stdout, r.Stderr = strings.ReplaceAll(r.Stdout, job, "JOB"), strings.ReplaceAll(r.Stderr, job, "JOB")
		return r
	}
	for i, c := range ours {
		t.Run(c.name, func(t *testing.T) {
			logins := w.logins(t)
			alone := do(i, c.command, "alone", "PATH=/tmp/alone:$PATH; ", "-o ControlPath=none")
			if w.logins(t) == logins {
				t.Error("alone nobody logged in")
			}
			sessions, logins := w.sessions(t), w.logins(t)
			with := do(i, c.command, "muxed", "", "")
			if n := w.logins(t) - logins; n != 0 {
				t.Errorf("with the mux there were %d logins", n)
			}
			if w.sessions(t) == sessions {
				t.Error("the mux has not served it")
			}
			if alone.Code != with.Code || alone.Stdout != with.Stdout || alone.Stderr != with.Stderr {
				t.Errorf("alone: %s\nwith the mux: %s", alone, with)
			}
		})
	}
	w.attachOnATerminal(t)
	w.write(t, "/root/.config/keyway/policy.yaml", "rules:\n  - deny: session\n")
	logins := w.logins(t)
	if r := w.do("keyway", "run", train, "--", "sh", "-c", "echo out; exit 3"); r.Code != 3 || r.Stdout != "out\n" || r.Stderr != "" || w.logins(t) == logins {
		t.Errorf("without the agent's leave, with %d logins: %s", w.logins(t)-logins, r)
	}
}

// logins returns the number of logins to the workspace that the agent has allowed.
func (w *world) logins(t *testing.T) int {
	t.Helper()
	return strings.Count(w.log(t), " to log in to train as ")
}

// attachOnATerminal shows jobs on a terminal of the laptop that changes its size, and
// types.
func (w *world) attachOnATerminal(t *testing.T) {
	sessions, logins := w.sessions(t), w.logins(t)
	w.must(t, "keyway", "run", train, "-d", "-t", "--as", "tty", "--", "sh", "-c",
		`trap "stty size" WINCH; trap "echo int; exit 9" INT; echo begun; while :; do sleep 0.1; done`)
	program := typed + `
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
line("PS1=; stty -echo; echo re''ady", b"ready")
line("keyway attach train/tty; echo code=$?", b"begun")
raw()
line("typed", b"typed") # the job's terminal has the size of the one that was typed in last
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 41, 123, 0, 0))
await_(b"41 123")
os.write(fd, b"\x03")
await_(b"code=9")
line("keyway run train --as sized -- sh -c 'stty size; exec cat'; echo code=$?", b"41 123")
raw()
line("typed", b"typed")
os.write(fd, b"\x04")
await_(b"code=0")
`
	w.must(t, "python3", "-c", program)
	if n := w.sessions(t) - sessions; n < 3 {
		t.Errorf("the mux has served %d of 3 commands", n)
	}
	if n := w.logins(t) - logins; n != 0 {
		t.Errorf("there were %d logins", n)
	}
}
