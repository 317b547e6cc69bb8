package keyway

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The time that programs get between being told to end and being killed, unless the user says
// another, and the longest that the user may say.
const (
	DefaultGrace = 30 * time.Second // of a workspace that is stopped
	KillGrace    = 10 * time.Second // of a job that is killed
	MaxGrace     = 24 * time.Hour
)

// ParseGrace reads a grace as people type it: seconds, or a number with a unit as in 2m.
func ParseGrace(text string) (time.Duration, error) {
	unit := ""
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		unit = "s"
	}
	grace, err := time.ParseDuration(text + unit)
	if err != nil || grace < 0 || grace > MaxGrace {
		return 0, Errorf(Usage, "the grace %q is not a time from 0 to 24h", text).Hint("for example: 30 (seconds), 2m")
	}
	return grace, nil
}

// GraceFile contains the grace of a stop in milliseconds; without it, programs have
// DefaultGrace.
func (h Home) GraceFile() string { return filepath.Join(string(h), "grace") }

// GraceText returns the content of GraceFile for a grace period.
func GraceText(grace time.Duration) []byte {
	return append(strconv.AppendInt(nil, grace.Milliseconds(), 10), '\n')
}

// Grace returns the value in GraceFile. Programs of the workspace can write the file, too, so
// an invalid value is ignored.
func (h Home) Grace() time.Duration {
	if st, err := os.Lstat(h.GraceFile()); err != nil || !st.Mode().IsRegular() {
		return DefaultGrace
	}
	f, err := os.Open(h.GraceFile())
	if err != nil {
		return DefaultGrace
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return DefaultGrace
	}
	ms, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if grace := time.Duration(ms) * time.Millisecond; err == nil && grace <= MaxGrace {
		return grace
	}
	return DefaultGrace
}
