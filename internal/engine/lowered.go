package engine

import (
	"fmt"
	"slices"

	"keyway/internal/keyway"
)

// Lowered is s, a template's, with the limits of processes that an engine without root can
// hold, which cannot raise them above its own: most has these. title is what people call
// the engine. A template is for many places, and what it asks for is told where it cannot
// be had.
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
