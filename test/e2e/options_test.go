//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"keyway/test/lab"
)

// TestSessionsOfUsers checks that settings of the user's configuration for sessions on every host
// do not change the sessions that keyway makes itself.
func TestSessionsOfUsers(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{})
	w.must(t, "keyway", "init", "--yes")
	w.must(t, "keyway", "unlock")
	w.must(t, "keyway", "up", "--on", "gpu1", "--engine", "host", "--name", train)
	before := w.must(t, "cat", "/root/.ssh/config")
	for i, options := range []string{
		"SessionType none",
		"StdinNull yes",
		"ForkAfterAuthentication yes",
		"SessionType none\nStdinNull yes\nForkAfterAuthentication yes",
		"RemoteCommand tmux",
		"RequestTTY force",
		"PermitLocalCommand yes\nLocalCommand echo local",
		"LocalForward 18999 localhost:1\nExitOnForwardFailure yes",
		"DynamicForward 18999\nExitOnForwardFailure yes",
		"RemoteForward 18998 localhost:1\nExitOnForwardFailure yes",
		"EscapeChar q\nRequestTTY yes",
		"LogLevel DEBUG\nVisualHostKey yes",
		"Tunnel ethernet\nTunnelDevice any:any",
		"ProxyUseFdpass yes",
		"CanonicalizeHostname always\nCanonicalDomains example.org\nCanonicalizeMaxDots 3",
		"CanonicalizeHostname yes\nMatch exec \"ssh -G -F none %n\"\nRemoteCommand tmux\nMatch final\nForkAfterAuthentication yes",
	} {
		t.Run(strings.ReplaceAll(options, "\n", ","), func(t *testing.T) {
			w.write(t, "/root/.ssh/config", before+"\nHost *\n"+options+"\n")
			const input = "\x04qx\x03\n~.\r\nhello"
			equal(t, "the job's bytes", w.mustFeed(t, input, "keyway", "run", train, "--", "cat"), input)
			if r := w.do("keyway", "run", train, "--", "sh", "-c", "exit 6"); r.Code != 6 {
				t.Errorf("a job that exits with 6: %s", r)
			}
			// Two at once: a forwarded port has room for one.
			job := fmt.Sprintf("job%d", i)
			equal(t, "a detached job", w.must(t, "keyway", "run", "-d", "-t", "--as", job, train, "--", "cat"), job+"\n")
			holds(t, "ls", w.must(t, "keyway", "ls", train), job)
			w.must(t, "keyway", "send", train+"/"+job, "C-d")
			w.must(t, "keyway", "wait", train+"/"+job)
			w.must(t, "keyway", "ports", train)
			holds(t, "completion", w.must(t, "keyway", "__complete", "logs", train+"/"), job)
		})
	}
	// Messages of ssh that need a higher LogLevel are printed nevertheless.
	w.write(t, "/root/.ssh/config", before+"\nHost *\nKexAlgorithms diffie-hellman-group14-sha256\n")
	for _, line := range []string{"run train -- true", "ls train", "logs train", "kill train/job0", "ports train"} {
		r := w.do(append([]string{"keyway"}, strings.Fields(line)...)...)
		if r.Code == 0 || strings.Count(r.Stderr, "Unable to negotiate with train: no matching key exchange method found") != 1 {
			t.Errorf("%s with an algorithm that no guest has: %s", line, r)
		}
	}
	w.write(t, "/root/.ssh/config", before)
	if r := w.do("keyway", "run", train, "--", "sh", "-c", "exit 255"); r.Code != 255 || r.Stderr != "" {
		t.Errorf("a job that exits with 255: %s", r)
	}
}

// TestTheLinkKnowsNoCommands checks that the link's environment does not have the command of a
// workspace that has started it.
func TestTheLinkKnowsNoCommands(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{})
	w.must(t, "keyway", "init", "--yes")
	w.must(t, "keyway", "unlock")
	w.must(t, "keyway", "up", "--on", "gpu1", "--engine", "host", "--name", train)
	w.must(t, "keyway", "link", "stop")
	w.must(t, "keyway", "run", train, "--", "true", "--password=hunter2")
	links := link(w)
	if len(links) != 1 {
		t.Fatalf("processes of the link: %v", links)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", links[0]))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(environ, []byte("hunter2")) {
		t.Errorf("the link's environment:\n%q", environ)
	}
}
