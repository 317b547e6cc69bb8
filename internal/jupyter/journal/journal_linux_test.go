package journal

import (
	"os"
	"strings"
	"testing"
)

// A disk that is full costs what could not be written, and the output says so.
func TestFullDisk(t *testing.T) {
	j := open(t, t.TempDir(), Default)
	e := begin(t, j, "req")
	appendAll(t, e, printed("before\n"))
	e.close()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	e.file = full
	for range 10 {
		if err := e.Append(printed("lost\n")); err == nil {
			t.Fatal("no error")
		}
	}
	if got := shown(t, e); !strings.HasPrefix(got, "before\n") || !strings.Contains(got, "left out") || strings.Contains(got, "lost") {
		t.Errorf("%q", got)
	}
	e.close()
	appendAll(t, e, printed("after\n"), status("idle"))
	if got := shown(t, e); !strings.HasSuffix(got, "after\n") || strings.Count(got, "left out") != 1 {
		t.Errorf("%q", got)
	}
}
