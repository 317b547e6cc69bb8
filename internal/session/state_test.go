//go:build linux

package session

import (
	"testing"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		locked, known, exit, same bool
		want                      State
	}{
		{true, true, false, true, Running},
		{true, false, false, false, Starting},
		{true, true, true, true, Ended}, // its holder still serves a viewer
		{false, true, true, false, Ended},
		{false, true, false, true, Lost},
		{false, true, false, false, Ended}, // with its workspace
		{false, false, false, false, Lost},
	} {
		if got, _ := judge(c.locked, c.known, c.exit, c.same); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
