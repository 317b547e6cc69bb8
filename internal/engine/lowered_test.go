package engine

import (
	"fmt"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// TestLowered checks that an engine without root lowers a template's limits to possible values, and
// reports that.
func TestLowered(t *testing.T) {
	most := map[string]int64{"memlock": 8 << 20, "nofile": 1024, "core": -1}
	for _, c := range []struct {
		asked keyway.Ulimit
		want  string // empty: the requested value
	}{
		{keyway.Ulimit{Name: "memlock", Soft: -1, Hard: -1}, "memlock=8388608:8388608"},
		{keyway.Ulimit{Name: "nofile", Soft: 100, Hard: 2048}, "nofile=100:1024"},
		{keyway.Ulimit{Name: "nofile", Soft: 100, Hard: 1000}, ""},
		{keyway.Ulimit{Name: "core", Soft: -1, Hard: -1}, ""},
		{keyway.Ulimit{Name: "rtprio", Soft: -1, Hard: -1}, ""},
	} {
		s := keyway.Spec{Resources: keyway.Resources{Ulimits: []keyway.Ulimit{c.asked}}}
		var told strings.Builder
		got := Lowered(s, most, "Podman", func(p keyway.Progress) { fmt.Fprint(&told, p.Message) }).Ulimits[0].String()
		if want := c.want; want == "" && (got != c.asked.String() || told.Len() > 0) || want != "" && (got != want || !strings.Contains(told.String(), want)) {
			t.Errorf("%s: %s, and it is told %q", c.asked, got, &told)
		}
		if s.Ulimits[0] != c.asked {
			t.Errorf("the request itself is changed to %s", s.Ulimits[0])
		}
	}
}
