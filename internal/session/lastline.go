//go:build linux

package session

import (
	"keyway/internal/screen"
)

// lastLine is the last line that the session in dir has printed, as it looks now.
func lastLine(dir string) string {
	const enough = 4 << 10
	r, closeLog, err := openLog(dir)
	if err != nil {
		return ""
	}
	defer closeLog()
	shown := screen.New(barCols, barRows, screen.Options{Lines: -1, Newline: true})
	_, _ = r.copyTo(&drawing{shown}, r.lineStart(enough))
	return shown.LastLine()
}
