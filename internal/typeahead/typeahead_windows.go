package typeahead

import (
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// Follows reports whether something comes to be read from the console f within that
// time.
func Follows(f *os.File, within time.Duration) bool {
	event, err := windows.WaitForSingleObject(windows.Handle(f.Fd()), uint32(within.Milliseconds()))
	return err == nil && event == windows.WAIT_OBJECT_0
}

// Discard throws away what waits to be read from the console f. If there is anything, or
// more is expected, it goes on until nothing comes for Pause; but not for ever.
func Discard(f *os.File, expected bool) {
	wait := time.Duration(0)
	if expected {
		wait = Pause
	}
	for end := time.Now().Add(most); time.Now().Before(end) && Follows(f, wait); wait = Pause {
		if windows.FlushConsoleInputBuffer(windows.Handle(f.Fd())) != nil {
			return
		}
	}
}
