//go:build linux

package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"keyway/test/lab"
)

// segments are the TCP segments with data that a slow line has carried, by who sent them.
type segments struct {
	t    *testing.T
	file string
}

// since returns the number of segments of the laptop and of the bastion since before.
func (s segments) since(before [2]int) (more [2]int) {
	s.t.Helper()
	text, err := os.ReadFile(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		more[line[0]-'0']++
	}
	return [2]int{more[0] - before[0], more[1] - before[1]}
}

// settled waits until no segment has come for a while, and counts.
func (s segments) settled() (all [2]int) {
	s.t.Helper()
	for {
		next := s.since([2]int{})
		if next == all {
			return all
		}
		all = next
		time.Sleep(300 * time.Millisecond)
	}
}

// TestSegments checks that a keystroke is one segment to the workspace, and its echo one back: no
// byte is held back, and no message is split.
func TestSegments(t *testing.T) {
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	if err := w.unlockAndUp(); err != nil {
		t.Fatal(err)
	}
	w.must(t, "ssh", "train", "true")
	line := segments{t, filepath.Join(t.TempDir(), "segments")}
	remove, err := w.DelayTraced(w.Laptop, w.Bastion, 20*time.Millisecond, line.file)
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	cmd := w.Laptop.Command("ssh", "-tt", "train", "stty raw -echo; echo ready; exec cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	read := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(out, got); err != nil || string(got) != want {
			t.Fatalf("%q came, %v, not %q", got, err, want)
		}
	}
	read("ready\n")
	const keys = "abcdefghi"
	var others []string
	for _, key := range strings.Split(keys, "") {
		before := line.settled()
		if _, err := io.WriteString(in, key); err != nil {
			t.Fatal(err)
		}
		read(key)
		// The acknowledgement of the echo may have left by now.
		if now := line.since(before); now[0] > 2 || now[1] != 1 {
			others = append(others, fmt.Sprint(key, now))
		}
	}
	// On a busy machine, the key may be acknowledged before the guest has its turn to echo it. A
	// host that holds or cuts bytes does so with every key.
	if len(others) > len(keys)/2 {
		t.Errorf("these keys and their echoes are several segments: %v", others)
	}
}

// held returns the small segments of the bastion since before that followed another of its
// segments, with none of the laptop's in between. A bastion's sshd holds each of them back until
// the laptop has acknowledged the previous one, and the laptop delays its ACK.
func (s segments) held(before [2]int) (sizes []int) {
	s.t.Helper()
	text, err := os.ReadFile(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	const full = 1400 // a full segment is not held back
	last := "0"
	skip := before[0] + before[1]
	for line := range strings.Lines(string(text)) {
		from, size, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.Atoi(size)
		if err != nil {
			s.t.Fatal(err)
		}
		if skip--; skip < 0 && from == "1" && last == "1" && n < full {
			sizes = append(sizes, n)
		}
		last = from
	}
	return sizes
}

// TestNoAnswerWaits checks that whatever the node and the guest send while an ssh connects comes
// with an answer, and not alone before one: over a bastion, the answer would then wait.
func TestNoAnswerWaits(t *testing.T) {
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	if err := w.unlockAndUp(); err != nil {
		t.Fatal(err)
	}
	w.must(t, "ssh", "train", "true")
	line := segments{t, filepath.Join(t.TempDir(), "segments")}
	remove, err := w.DelayTraced(w.Laptop, w.Bastion, 20*time.Millisecond, line.file)
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	for name, pause := range map[string]string{"over a new stream": "0.2", "over a spare": "1.5"} {
		const times = 12
		before := line.settled()
		w.must(t, "sh", "-c", fmt.Sprintf("for i in $(seq %d); do ssh train true; sleep %s; done", times, pause))
		line.settled()
		held := line.held(before)
		t.Logf("%s: %v", name, held)
		if len(held) > times/4 {
			t.Errorf("%s: of %d connections, these segments waited for the one before: %v", name, times, held)
		}
	}
}
