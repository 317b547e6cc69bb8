package engine

import (
	"fmt"
	"slices"

	"keyway/internal/keyway"
)

// Lowered returns s, which comes from a template, with its limits of processes lowered to most: an
// engine without root cannot raise its own. title is the engine's name for people. Templates are
// for many places, so a limit that is not available is reported and does not fail.
func Lowered(s keyway.Spec, most map[string]int64, title string, report func(keyway.Progress)) keyway.Spec {
	s.Ulimits = slices.Clone(s.Ulimits)
	for i, u := range s.Ulimits {
		hard, known := most[u.Name]
		if !known || hard < 0 || u.Hard >= 0 && u.Hard <= hard {
			continue
		}
		s.Ulimits[i].Hard = hard
		if u.Soft < 0 || u.Soft > hard {
			s.Ulimits[i].Soft = hard
		}
		report(keyway.Progress{Message: fmt.Sprintf("%s runs without root here and cannot give what the template asks for: the workspace gets the ulimit %s, not %s", title, s.Ulimits[i], u)})
	}
	return s
}
