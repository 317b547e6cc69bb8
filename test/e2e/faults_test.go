//go:build linux

package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"keyway/internal/keyway"
	"keyway/test/await"
	"keyway/test/lab"
)

// TestInterruptedUp presses Ctrl-C at many moments of keyway up: while the program is copied, while
// the container is made, and while the guest starts. It checks that nothing is left.
func TestInterruptedUp(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Busybox}})
	w.must(t, "keyway", "init", "--yes")
	w.must(t, "keyway", "unlock")
	interrupted := 0
	// In steps, because the moment is what is tested.
	for after := 20 * time.Millisecond; after < 1200*time.Millisecond; after += 90 * time.Millisecond {
		if after > 600*time.Millisecond { // from here on with a program to copy first
			w.must(t, "keyway", "link", "stop")
			mustOn(t, w.GPU, "rm", "-rf", "/root/.cache/keyway")
		}
		cmd := w.command("keyway", "up", "--on", "gpu1", "--image", string(lab.Busybox), "--name", "a")
		r := w.finish(cmd, "", func() {
			time.AfterFunc(after, func() { _ = cmd.Process.Signal(os.Interrupt) })
		})
		switch r.Code {
		case 0: // too late
			w.must(t, "keyway", "rm", "a")
		case 130:
			interrupted++
			if r.Stderr != "" { // otherwise the signal came before keyway could catch it, or before there was work to interrupt
				holds(t, "what an interrupted up says", r.Stderr, "interrupted")
			}
		default:
			t.Errorf("interrupted after %v, want exit code 130: %s", after, r)
		}
		if err := w.nothingLeft(); err != nil {
			t.Errorf("after an interrupt at %v: %v", after, err)
		}
	}
	if interrupted < 5 {
		t.Errorf("only %d of the interrupts came in time", interrupted)
	}
	w.must(t, "keyway", "up", "--on", "gpu1", "--image", string(lab.Busybox), "--name", "a")
	w.must(t, "ssh", "a", "true")
}

// TestTheNodeIsKilledDuringUp kills the node at many moments of keyway up. It checks that the error
// names the next command, and that this command works. If a kill leaves a workspace half made, ls
// lists it as such, and start refuses it; TestHalfMade in internal/engine/docker makes one each
// time.
func TestTheNodeIsKilledDuringUp(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Busybox}})
	w.must(t, "keyway", "init", "--yes")
	w.must(t, "keyway", "unlock")
	up := []string{"keyway", "up", "--on", "gpu1", "--image", string(lab.Busybox), "--name", "a"}
	w.must(t, up...) // the node's program is there from now on
	w.must(t, "keyway", "rm", "a")
	lost, half := 0, 0
	for after := 20 * time.Millisecond; after < 1000*time.Millisecond; after += 150 * time.Millisecond {
		cmd := w.command(up...)
		var kill *time.Timer
		killed := make(chan struct{})
		r := w.finish(cmd, "", func() {
			kill = time.AfterFunc(after, func() {
				defer close(killed)
				_ = lab.Kill(syscall.SIGKILL, w.GPU.Nodes()...)
			})
		})
		if !kill.Stop() { // it has begun; the next command finds no node
			<-killed
			w.do("keyway", "ls", "--on", "gpu1")
		}
		if r.Code != 0 {
			lost++
			holds(t, "what an up without its node says", r.Stderr, "\n  → ")
			if strings.Contains(w.do("keyway", "ls", "--on", "gpu1").Stdout, "half made") {
				half++
				equal(t, "the code of a start of what is half made", strconv.Itoa(w.do("keyway", "start", "gpu1/a").Code), strconv.Itoa(keyway.ExitCode(keyway.Errorf(keyway.NotRunning, ""))))
			}
			w.upAgain(t, up)
		}
		w.must(t, "keyway", "rm", "a")
		if err := w.nothingLeft(); err != nil {
			t.Errorf("after a kill at %v: %v", after, err)
		}
	}
	t.Logf("%d nodes were killed in time, and %d of them left something half made", lost, half)
	if lost == 0 {
		t.Error("none of the kills came in time")
	}
}

// upAgain types a keyway up again that did not end well, or what it then advises, and enters the
// workspace a.
func (w *world) upAgain(t *testing.T, up []string) {
	t.Helper()
	switch again := w.do(up...); again.Code {
	case 0:
	case keyway.ExitCode(keyway.Errorf(keyway.NameTaken, "")): // it is complete, or does not run
		if !strings.Contains(again.Stderr, "keyway add gpu1/a") || w.do("keyway", "add", "gpu1/a", "--yes").Code != 0 {
			w.must(t, "keyway", "rm", "gpu1/a")
			w.must(t, up...)
		}
	default:
		t.Errorf("again: %s", again)
	}
	w.must(t, "ssh", "a", "true")
}

// TestUpEndsBeforeTheProof ends each party of keyway up, and its connections, after the guest has
// started and before its host key has proved itself: the link, which carries both, is stopped
// meanwhile. It checks that an interrupted up leaves nothing, and that after any other end the next
// command works.
func TestUpEndsBeforeTheProof(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Busybox}})
	w.must(t, "keyway", "init", "--yes")
	w.must(t, "keyway", "unlock")
	up := []string{"keyway", "up", "--on", "gpu1", "--image", string(lab.Busybox), "--name", "a"}
	w.must(t, up...) // the node's program is there from now on
	w.must(t, "keyway", "rm", "a")
	fast, err := w.Delay(w.Laptop, w.Bastion, 100*time.Millisecond) // an answer takes longer than stopping the link
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fast(); err != nil {
			t.Error(err)
		}
	})
	const interrupted = 130
	for _, c := range []struct {
		what string
		code int // the exit code of keyway up, unless it has ended before; 0: any
		end  func(up *os.Process) error
	}{
		{"Ctrl-C", interrupted, func(up *os.Process) error { return up.Signal(os.Interrupt) }},
		{"kill -9 of keyway up", 128 + int(syscall.SIGKILL), func(up *os.Process) error { return up.Kill() }},
		{"kill -9 of the link", 0, func(*os.Process) error { return lab.Kill(syscall.SIGKILL, w.Laptop.Links()...) }},
		{"kill -9 of the node", 0, func(*os.Process) error { return lab.Kill(syscall.SIGKILL, w.GPU.Nodes()...) }},
		{"a cut", 0, func(*os.Process) error { w.Bastion.KillConnections(); return nil }},
	} {
		late := false
		cmd := w.command(up...)
		r := w.finish(cmd, "", func() {
			await.That(t, "a guest has started", func() bool { return len(w.GPU.ProcessesInside("keyway-guest")) > 0 })
			links := w.Laptop.Links()
			stopped, ended := lab.Kill(syscall.SIGSTOP, links...), c.end(cmd.Process)
			if late = errors.Is(ended, os.ErrProcessDone); late {
				ended = nil
			}
			if err := errors.Join(stopped, ended, lab.Kill(syscall.SIGCONT, links...)); err != nil {
				t.Error(err)
			}
		})
		late = late || r.Code == 0 // a busy machine may take longer to see the guest than up takes to end
		if !late && c.code != 0 && r.Code != c.code || r.Code > 0 && r.Code < 128 && !strings.Contains(r.Stderr, "\n  → ") {
			t.Errorf("%s: want the exit code %d, and advice: %s", c.what, c.code, r)
		}
		switch {
		case r.Code == 0:
			w.must(t, "ssh", "a", "true")
			w.must(t, "keyway", "rm", "a")
		case r.Code != interrupted:
			w.upAgain(t, up)
			w.must(t, "keyway", "rm", "a")
		}
		if err := w.nothingLeft(); err != nil {
			t.Errorf("after %s: %v", c.what, err)
		}
	}
}

func mustOn(t *testing.T, h *lab.Host, name string, args ...string) {
	t.Helper()
	if _, err := h.Output(name, args...); err != nil {
		t.Fatal(err)
	}
}

// TestTwoUps makes two workspaces of one name at once, and checks that one is made and that the
// other command reports it.
func TestTwoUps(t *testing.T) {
	t.Parallel()
	w := shared
	defer w.do("keyway", "rm", "twice")
	results := make([]result, 2)
	var both sync.WaitGroup
	for i := range results {
		both.Go(func() {
			results[i] = w.do("keyway", "up", "--on", "gpu1", "--image", string(lab.Busybox), "--name", "twice")
		})
	}
	both.Wait()
	codes := map[int]int{}
	for _, r := range results {
		codes[r.Code]++
	}
	if codes[0] != 1 || codes[24] != 1 {
		t.Errorf("want one that works and one with exit code 24:\n%s\n%s", results[0], results[1])
	}
	if r := w.do("keyway", "check", "--on", "gpu1"); !strings.Contains(r.Stderr, "no image was named: checked with debian:12, ") {
		t.Errorf("a check without an image: %s", r)
	}
	equal(t, "the one that was made", w.must(t, "ssh", "twice", "echo hi"), "hi\n")
}

// TestLocal checks a workspace on the laptop itself: no bastion, no sshd, no Docker.
func TestLocal(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{})
	w.must(t, "keyway", "init", "--yes")
	w.must(t, "keyway", "unlock")
	r := w.do("keyway", "up", "--name", "here")
	if r.Code != 0 || !strings.Contains(r.Stderr, "host") {
		t.Fatalf("want it to say which engine it took and why: %s", r)
	}
	equal(t, "where", w.must(t, "ssh", "here", "hostname"), "laptop\n")
	w.must(t, "scp", "-q", "/etc/hostname", "here:copied")
	if r := w.do("keyway", "run", "here", "--", "sh", "-c", "exit 3"); r.Code != 3 {
		t.Error(r)
	}
	w.must(t, "keyway", "rm", "here")
}

// TestDockersGroupCountsFromTheNextLogin adds a user to Docker's group, as the advice says, and
// logs in again. It checks that the advice is gone, although the link of the first login still
// runs.
func TestDockersGroupCountsFromTheNextLogin(t *testing.T) {
	t.Parallel()
	w := shared
	if err := w.AddUser(w.GPU, "lin", 1700, "lin"); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(filepath.Join(bin, "keyway"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.GPU.WriteFile("/home/lin/keyway", string(program), 0o755); err != nil {
		t.Fatal(err)
	}
	group, err := w.GPU.Output("stat", "-c", "%g", "/run/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	group = strings.TrimSpace(group)
	login := func(groups string, argv ...string) result {
		args := append([]string{"--reuid=1700", "--regid=1700", groups, "env", "-i", "HOME=/home/lin", "USER=lin", "PATH=/usr/bin:/bin"}, argv...)
		return w.finish(w.GPU.Command("setpriv", args...), "")
	}
	const none, docker = "--clear-groups", "--groups="
	if r := login(none, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/home/lin/.ssh/id_ed25519"); r.Code != 0 {
		t.Fatal(r)
	}
	t.Cleanup(func() { login(none, "/home/lin/keyway", "link", "stop") })
	up := []string{"/home/lin/keyway", "up", "--engine", "docker", "--image", string(lab.Base), "--name", "of-lin"}
	if r := login(none, up...); r.Code != 22 || !strings.Contains(r.Stderr, "log in again") {
		t.Errorf("before the user is in the group: %s", r)
	}
	if r := login(docker+group, up...); r.Code != 0 {
		t.Errorf("after the next login: %s", r)
	}
	if r := login(docker+group, "/home/lin/keyway", "rm", "--yes", "of-lin"); r.Code != 0 {
		t.Error(r)
	}
}

// TestReleaseBuild checks that the program of make build, which contains a guest, can make a
// workspace and enter it.
func TestReleaseBuild(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := lab.BuildRelease(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	w := startWith(t, dir, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	if err := w.unlockAndUp(); err != nil {
		t.Fatal(err)
	}
	equal(t, "ssh", w.must(t, "ssh", train, "greet"), "hello from the image\n")
	w.must(t, "scp", "-q", "/etc/hostname", train+":/tmp/copied")
	if r := w.do("keyway", "run", train, "--", "sh", "-c", "exit 3"); r.Code != 3 {
		t.Error(r)
	}
	// The guest is the small program, not a copy of the large one.
	size := strings.TrimSpace(w.must(t, "ssh", train, "stat -L -c %s /.keyway/bin/keyway-guest"))
	if len(size) > len("6000000") || size > "6000000" && len(size) == len("6000000") {
		t.Errorf("the guest has %s bytes", size)
	}
	w.must(t, "keyway", "rm", train)
	if err := w.nothingLeft(); err != nil {
		t.Error(err)
	}
}

// TestCutCable cuts the connection between laptop and bastion during an scp and restores it. It
// checks that nothing is lost.
func TestCutCable(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	if err := w.unlockAndUp(); err != nil {
		t.Fatal(err)
	}
	w.must(t, "sh", "-c", "head -c 300000000 /dev/urandom >/root/data")
	cmd := w.command("sh", "-c", "ssh train 'cat >data; sha256sum <data' </root/data; sha256sum </root/data")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for range 3 {
		select {
		case <-time.After(300 * time.Millisecond):
		case err := <-done:
			done <- err
		}
		if err := errors.Join(w.Cut(w.Laptop, w.Bastion), w.Restore(w.Laptop, w.Bastion)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-done:
		lines := strings.Fields(out.String())
		if err != nil || len(lines) != 4 || lines[0] != lines[2] {
			t.Errorf("%v: %q", err, out.String())
		}
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		t.Error("it hangs")
	}
}

// TestDroppedPacketsAreBounded drops all packets between the laptop and the bastion. It checks that
// a command that begins then names the silent host in bounded time, and that work under way
// continues afterwards.
func TestDroppedPacketsAreBounded(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{})
	for _, argv := range [][]string{{"init", "--yes"}, {"unlock"}, {"up", "--on", "gpu1", "--engine", "host", "--name", train}} {
		w.must(t, append([]string{"keyway"}, argv...)...)
	}
	w.must(t, "keyway", "run", train, "-d", "--as", "job", "--", "sh", "-c", "until [ -e /tmp/enough ]; do sleep 0.1; done; exit 5")
	wait := w.command("keyway", "wait", train+"/job")
	if err := wait.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = wait.Process.Kill() })
	under := w.background(t, "ready", w.command("ssh", train, "echo ready; until [ -e /tmp/enough ]; do sleep 0.1; done; echo still here"))
	bastion := strings.Fields(w.must(t, "sh", "-c", "ssh -G bastion | grep ^hostname"))[1]
	// One of the ssh below begins on a stream whose guest has answered before the drop.
	w.await(t, `"spares"`, "keyway", "status", "--json")
	for _, rule := range []string{"OUTPUT -d", "INPUT -s"} {
		w.must(t, strings.Fields("iptables -A "+rule+" "+bastion+" -j DROP")...)
	}
	const bound = patience // a command waits 30 s for its place, and eight wait beside it
	var all sync.WaitGroup
	for line, code := range map[string]int{
		"keyway ls --on gpu1": 11, "keyway ls train": 255, "keyway ports train": 11, "keyway send train/job x": 255, "keyway kill train/job": 255,
		"keyway run train -- true": 255, "ssh train true": 255, "keyway status gpu1": 11, "keyway stop train": 11,
	} {
		all.Go(func() {
			begun := time.Now()
			r := w.do(strings.Fields(line)...)
			said := r.Stdout + r.Stderr
			if took := time.Since(begun); r.Code != code || took > bound || !strings.Contains(said, "bastion") && !strings.Contains(said, "gpu1 has not answered") {
				t.Errorf("%s: after %v, want %d and the silent host: %s", line, took, code, r)
			}
		})
	}
	all.Wait()
	w.must(t, "iptables", "-F")
	w.must(t, "ssh", train, "touch /tmp/enough")
	_ = wait.Wait()
	if code := wait.ProcessState.ExitCode(); code != 5 {
		t.Errorf("wait exits with %d, want the job's 5", code)
	}
	under.await(t, "still here")
}
