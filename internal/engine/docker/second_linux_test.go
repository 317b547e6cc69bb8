package docker_test

import (
	"strings"
	"testing"

	"keyway/internal/engine/enginetest"
)

// TestSecondUserBesideAnOrdinaryOne checks a workspace of a user other than root, also with
// read-only files, with a second user in it that only the daemon can start.
func TestSecondUserBesideAnOrdinaryOne(t *testing.T) {
	modes(t, secondUser)
}

func secondUser(t *testing.T, w world) {
	for name, readOnly := range map[string]bool{"writable": false, "fixed": true} {
		spec := w.Spec(t, "ordinary")
		spec.User, spec.ReadOnly = "12345:54321", readOnly
		made := w.Create(t, spec)
		for _, command := range [][]string{{"rob", "/.keyway"}, {"peek", "/.keyway"}} {
			args := append([]string{"exec", "--user", "61236:61236", w.container("ordinary"), "/tool"}, command...)
			out, err := w.tool(args...).CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != "" {
				t.Errorf("%s: %s gets, %v\n%s", name, command[0], err, got)
			}
		}
		if got := w.Run(t, made, "peek /.keyway"); got != "" {
			t.Errorf("%s: a program of the workspace's own user\n%s", name, got)
		}
		if err := w.Engine.Remove(enginetest.Context(t), "ordinary"); err != nil {
			t.Fatal(enginetest.Full(err))
		}
	}
}
