//go:build linux

package link

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// TestASilentPlaceIsGivenUp checks that the link gives up a place that accepts the login and then
// hangs, with an error of its own.
func TestASilentPlaceIsGivenUp(t *testing.T) {
	s := starter{silence: 50 * time.Millisecond}
	_, err := s.begin(t.Context(), "gpu1", exec.Command("sleep", "600"), nil, scriptWord, func(keyway.Progress) {})
	if !keyway.Is(err, keyway.Unreachable) || !strings.Contains(err.Error(), "no answer for ") {
		t.Errorf("the error is %v", err)
	}
}

// TestAQuestionIsNoSilence checks that a place may be silent while the user is asked.
func TestAQuestionIsNoSilence(t *testing.T) {
	var asked atomic.Int32
	s := starter{silence: 40 * time.Millisecond, asking: func() bool { return asked.Add(1) < 20 }}
	_, err := s.begin(t.Context(), "gpu1", exec.Command("sleep", "600"), nil, scriptWord, func(keyway.Progress) {})
	if !keyway.Is(err, keyway.Unreachable) || asked.Load() < 20 {
		t.Errorf("given up after %d looks at the question: %v", asked.Load(), err)
	}
}

// TestAnAgentThatHangsIsNamed checks that an ssh that waits for an agent is not taken for a silent
// host, and that no agent is named at other times.
func TestAnAgentThatHangsIsNamed(t *testing.T) {
	dir := t.TempDir()
	hangs, answers := filepath.Join(dir, "hangs"), filepath.Join(dir, "answers")
	l, err := unixsock.Listen(hangs, 0o600) // accepts nothing, as a stopped agent
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fakeAgent(t, answers, 1)
	waits := "the agent " + hangs + " does not answer, and the ssh to bastion may be waiting for it"
	for _, c := range []struct {
		name, own string
		agents    []string
		says      string
	}{
		{"before the login", lineIdentified, []string{hangs}, waits},
		{"at the login", lineIdentified + "\n" + lineProved, []string{hangs}, waits},
		{"another one", lineProved, []string{answers, hangs}, waits},
		{"no host yet", "", []string{hangs}, "bastion has not accepted the login"},
		{"an agent that answers", lineIdentified, []string{answers}, "bastion began to answer"},
		{"an agent that does not sign", lineProved + "\n" + lineSigning + "1581 (pid=7): signing using x", []string{answers}, "the login to bastion waits for a signature, or for bastion to accept it: is there a window"},
		{"an agent that hangs now", lineSigning, []string{hangs}, waits},
		{"after a signature that failed", lineSigning + "\nsshconnect2.c:sign_and_send_pubkey():1629 (pid=7): signing failed", []string{answers}, "bastion has not accepted the login"},
		{"no agent", lineProved, []string{filepath.Join(dir, "none")}, "bastion has not accepted the login"},
		{"behind the bastion", lineEntered, []string{hangs}, "bastion answers, but gpu1 behind it is silent"},
	} {
		u := &uplink{agents: c.agents}
		d := &sshRun{dir: t.TempDir(), place: "gpu1", agent: u.silentAgent}
		d.add("gpu1")
		if err := os.WriteFile(d.add("bastion").log, []byte(c.own+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := d.stage("gpu1"); !strings.HasPrefix(got, c.says) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// TestSignaturesAreNoProgress checks that the link gives up a host that asks for one signature after
// the other, as it gives up a silent host.
func TestSignaturesAreNoProgress(t *testing.T) {
	d := &sshRun{dir: t.TempDir(), place: "gpu1"}
	last := d.add("gpu1")
	at := func(lines ...string) progress {
		if err := os.WriteFile(last.log, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return d.progress()
	}
	login, signs := at(lineProved), lineSigning+"1581 (pid=7): signing using x"
	partly := `Authenticated using "publickey" with partial success.`
	for _, lines := range [][]string{{lineProved, signs}, {lineProved, signs, partly}, {lineProved, signs, partly, signs}} {
		if got := at(lines...); got != login {
			t.Errorf("%q: %+v, and %+v before it", lines, got, login)
		}
	}
	if at(lineProved, signs, lineEntered) == login || at(lineIdentified) == login {
		t.Error("no step is progress")
	}
}

// TestSilenceEndsWithWhoWaits checks that a caller that stops waiting gets its own context's error,
// and not that of a silent host.
func TestSilenceEndsWithWhoWaits(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	s := starter{silence: time.Hour}
	_, err := s.begin(ctx, "gpu1", exec.Command("sleep", "600"), nil, scriptWord, func(keyway.Progress) {})
	if err != context.Canceled {
		t.Errorf("the error is %v", err)
	}
}
