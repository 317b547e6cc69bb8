//go:build linux

package mux

import (
	"strings"
	"testing"
	"time"
)

// TestMuxRunsNothingThatWasGivenUp loses the network silently. It checks that commands that begin
// before that is noticed end with 255, and do not run when the network is back.
func TestMuxRunsNothingThatWasGivenUp(t *testing.T) {
	t.Parallel()
	w := muxed(t)
	bastion := strings.Fields(w.must(t, "sh", "-c", "ssh -G bastion | grep ^hostname"))[1]
	sessions := w.sessions(t)
	for _, rule := range []string{"OUTPUT -d", "INPUT -s"} {
		w.must(t, strings.Fields("iptables -A "+rule+" "+bastion+" -j DROP")...)
	}
	ends := make(chan result)
	commands := []string{"ssh train 'echo plain >>/tmp/ran'", "head -c 20000 /dev/zero | ssh train 'cat >/dev/null; echo input >>/tmp/ran'", "ssh -tt train 'echo terminal >>/tmp/ran'"}
	for _, line := range commands {
		go func() { ends <- w.do("sh", "-c", line+" 2>&1") }()
	}
	for range commands {
		if r := <-ends; r.Code != 255 {
			t.Errorf("it does not end with 255: %s", r)
		}
	}
	if n := w.sessions(t) - sessions; n == 0 {
		t.Error("the mux has served none of them")
	}
	w.must(t, "iptables", "-F")
	for deadline := time.Now().Add(patience); w.do("ssh", train, "true").Code != 0; {
		if time.Now().After(deadline) {
			t.Fatal("no ssh works when the network is back")
		}
	}
	w.awaitMux(t)
	if ran := w.must(t, "ssh", train, "cat /tmp/ran 2>/dev/null; true"); ran != "" {
		t.Errorf("what was given up has run: %s", ran)
	}
}
