package inside

import (
	"strings"
	"testing"
)

// TestCountSessions checks that running sessions are counted, and that an invalid list has no
// number.
func TestCountSessions(t *testing.T) {
	for said, want := range map[string]int{
		`[]`: 0,
		`[{"name": "a", "state": "running"}, {"state": "ended"}, {"state": "starting"}, {"state": "lost"}]`: 2,
		`[{"state": {"running": 1}}]`: -1,
		`[{"state": "running"}`:       -1,
		`{"state": "running"}`:        -1,
		`null`:                        -1,
		``:                            -1,
		`7`:                           -1,
		`[7]`:                         -1,
	} {
		if got, err := countSessions(strings.NewReader(said)); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%s: %d, %v", said, got, err)
		}
	}
}
