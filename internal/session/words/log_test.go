//go:build linux

package words

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLogsCollapseProgressBars(t *testing.T) {
	l := newLab(t)
	const script = `echo begin; for i in 1 2 3; do printf '\r%s0%%' $i >&2; done; printf '\n' >&2; echo end`
	for _, flag := range []string{"-T", "-t"} {
		l.ok("run", "-d", flag, "--as", "x", "--", "sh", "-c", script)
		l.ok("wait", "x")
		r := l.keyway("logs", "x")
		if flag == "-T" && (r.out != "begin\nend\n" || r.err != "30%\n") || flag == "-t" && r.out != "begin\n30%\nend\n" {
			t.Errorf("%s: %+v", flag, r)
		}
		r = l.keyway("logs", "--raw", "x")
		if raw := r.out + r.err; !strings.Contains(raw, "\r10%\r20%\r30%") {
			t.Errorf("%s: %+v", flag, r)
		}
	}
}

func TestLogsOnATerminalShowTheBarAsItIs(t *testing.T) {
	l := newLab(t)
	fifo := l.fifo()
	l.ok("run", "-d", "--as", "x", "--", "sh", "-c", `printf '\r10%%'; cat `+fifo+`; printf '\r20%%\n'; echo end`)
	p := l.startTTY(24, 80, "logs", "-f", "x")
	p.out.expect(t, "10%")
	l.writeFifo(fifo, "")
	p.out.expect(t, "\r\x1b[K")
	p.out.expect(t, "20%\r\nend\r\n")
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	l.ok("run", "-d", "--as", "y", "--", "sh", "-c", `printf '\r30%%'; exec sleep 1000`)
	p = l.startTTY(24, 80, "logs", "-f", "y")
	p.out.expect(t, "30%")
	p.keys("\x03")
	if code := p.wait(); code != 130 {
		t.Errorf("exit code %d after Ctrl-C", code)
	}
}

func TestLogsSince(t *testing.T) {
	l := newLab(t)
	fifo := l.fifo()
	l.ok("run", "-d", "--as", "x", "--", "sh", "-c", "echo early; cat "+fifo+"; echo late")
	l.start("logs", "-f", "x").out.expect(t, "early\n")
	time.Sleep(2 * time.Second) // after which the next output has a time of its own
	between := time.Now().Format(time.RFC3339Nano)
	l.writeFifo(fifo, "")
	l.ok("wait", "x")
	if got := l.ok("logs", "--since", "1h", "x"); got != "early\nlate\n" {
		t.Errorf("of the last hour: %q", got)
	}
	if got := l.ok("logs", "--since", between, "x"); got != "late\n" {
		t.Errorf("since %s: %q", between, got)
	}
	if got := l.ok("logs", "--since", "0s", "x"); got != "" {
		t.Errorf("since now: %q", got)
	}
	if r := l.keyway("logs", "--since", "yesterday", "x"); r.code != 2 {
		t.Errorf("a word that is no time: %+v", r)
	}
}

func TestSince(t *testing.T) {
	now := time.Date(2026, 3, 5, 16, 45, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"30s": now.Add(-30 * time.Second), "1h30m": now.Add(-90 * time.Minute), "2d": now.AddDate(0, 0, -2),
		"14:30": time.Date(2026, 3, 5, 14, 30, 0, 0, time.UTC), "2026-01-31": time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC),
		"2026-01-31T14:30:00": time.Date(2026, 1, 31, 14, 30, 0, 0, time.UTC), "2026-01-31 14:30": time.Date(2026, 1, 31, 14, 30, 0, 0, time.UTC),
		"2026-01-31T14:30:00+01:00": time.Date(2026, 1, 31, 13, 30, 0, 0, time.UTC),
	} {
		if got, ok := parseSince(s, now); !ok || !got.Equal(want) {
			t.Errorf("%s: %v, want %v", s, got, want)
		}
	}
	for _, s := range []string{"", "d", "-1h", "now", "25:00", "2026-13-01"} {
		if got, ok := parseSince(s, now); ok {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestListTellsOfTheEndAndTheLastLine(t *testing.T) {
	l := newLab(t)
	l.ok("run", "-d", "--as", "x", "--", "sh", "-c", `echo one; printf '\r 10%%\r 99%%'; kill -ABRT $$`)
	l.keyway("wait", "x")
	l.ok("run", "-d", "--as", "y", "--", "sh", "-c", `echo "epoch 3"; exec sleep 1000`)
	l.start("logs", "-f", "y").out.expect(t, "epoch 3\n")
	rows := strings.Split(l.ok("ls"), "\n")
	if len(rows) != 4 || !strings.HasPrefix(rows[0], "NAME ") {
		t.Fatalf("%q", rows)
	}
	for i, words := range [][]string{{"x ", "SIGABRT", "s ago", " 99%"}, {"y ", "running", "epoch 3"}} {
		for _, word := range words {
			if !strings.Contains(rows[i+1], word) {
				t.Errorf("%q lacks %q", rows[i+1], word)
			}
		}
	}
	var list []struct{ Last, State string }
	if err := json.Unmarshal([]byte(l.ok("ls", "--json")), &list); err != nil || len(list) != 2 || list[0].Last != " 99%" || list[1].Last != "epoch 3" {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestOnExit(t *testing.T) {
	l := newLab(t)
	fifo := l.fifo()
	r := l.keyway("run", "--as", "x", "--on-exit", "echo $KEYWAY_SESSION $KEYWAY_EXIT_CODE $KEYWAY_SIGNAL. >"+fifo+"; echo said", "--", "sh", "-c", "kill -TERM $$")
	if r.code != 143 {
		t.Errorf("%+v", r)
	}
	var told []byte
	within(t, "the command at the end", func() { told, _ = os.ReadFile(fifo) })
	if string(told) != "x 143 SIGTERM.\n" {
		t.Errorf("it was told %q", told)
	}
}

func TestOutOfMemory(t *testing.T) {
	l := newLab(t)
	group := memoryGroup(t, 256<<20) // the holder, built with the race detector, needs 40
	for _, job := range []string{"exec tail /dev/zero", "tail /dev/zero; exit 3"} {
		cmd := l.cmd("run", "--as", "x", "--", "sh", "-c", job)
		cmd.Args = append([]string{"sh", "-c", `echo $$ >"$0/cgroup.procs"; exec "$@"`, group}, cmd.Args...)
		cmd.Path = "/bin/sh"
		r := l.finish(cmd)
		i := l.session("x")
		direct := strings.HasPrefix(job, "exec")
		if want := map[bool]int{true: 137, false: 3}[direct]; r.code != want || i.Exit == nil || i.Exit.OOM != direct || i.Exit.OOMKills != 1 {
			t.Fatalf("%s: %+v; %+v", job, r, i.Exit)
		}
		if !strings.Contains(l.ok("ls"), "out of memory") {
			t.Errorf("ls says %q", l.ok("ls"))
		}
	}
}

// memoryGroup returns a control group whose processes may have that many bytes.
func memoryGroup(t *testing.T, limit int) string {
	t.Helper()
	root, file := "/sys/fs/cgroup", "memory.max"
	if _, err := os.Stat(root + "/cgroup.controllers"); err == nil {
		if err := os.WriteFile(root+"/cgroup.subtree_control", []byte("+memory"), 0o600); err != nil {
			t.Fatalf("this test limits the memory of processes, for which it must be root: %v", err)
		}
	} else {
		root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	}
	group, err := os.MkdirTemp(root, "keyway-test")
	if err != nil {
		t.Fatalf("this test limits the memory of processes, for which it must be root: %v", err)
	}
	t.Cleanup(func() {
		within(t, "the control group's end", func() {
			for os.Remove(group) != nil {
				time.Sleep(10 * time.Millisecond)
			}
		})
	})
	if err := os.WriteFile(filepath.Join(group, file), fmt.Append(nil, limit), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.WriteFile(filepath.Join(group, "memory.swap.max"), []byte("0"), 0o600)
	return group
}
