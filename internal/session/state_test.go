//go:build linux

package session

import (
	"testing"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		locked, known, exit, same bool
		want                      status
	}{
		{true, true, false, true, running},
		{true, false, false, false, starting},
		{true, true, true, true, finished}, // its holder still serves a viewer
		{false, true, true, false, finished},
		{false, true, false, true, lostIt},
		{false, true, false, false, lostIt},
		{false, false, false, false, lostIt},
	} {
		if got, _ := judge(c.locked, c.known, c.exit, c.same); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
