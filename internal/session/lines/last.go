//go:build linux

package lines

import (
	"keyway/internal/screen"
	"keyway/internal/session/joblog"
)

// Last returns the last line that the session in dir has printed, as it looks now.
func Last(dir string) string {
	const enough = 4 << 10
	r, closeLog, err := joblog.Open(dir)
	if err != nil {
		return ""
	}
	defer closeLog()
	shown := screen.New(barCols, barRows, screen.Options{Lines: -1, Newline: true})
	_, _ = r.CopyTo(&Drawing{shown}, r.LineStart(enough))
	return shown.LastLine()
}
