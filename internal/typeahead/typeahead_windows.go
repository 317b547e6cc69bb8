package typeahead

import (
	"io"
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

// Discard discards the input that waits in the console f, and input that follows it without a
// pause. It first waits for input for that time; 0 means that none is expected. Consoles mark no
// pastes for programs here.
func (m *Marks) Discard(f *os.File, _ io.Writer, wait time.Duration) {
	for end := time.Now().Add(most); time.Now().Before(end) && Follows(f, wait); wait = max(wait, Pause) {
		if windows.FlushConsoleInputBuffer(windows.Handle(f.Fd())) != nil {
			return
		}
	}
}
