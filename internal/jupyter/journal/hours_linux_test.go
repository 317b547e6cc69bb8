package journal

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
)

// TestEightHoursOfBars replays the messages of two progress bars over eight hours as fast as
// possible: 3,000,000 updates, one bar inside the other, and a line after each 10,000. It checks
// that the journal and the memory stay small all the time.
func TestEightHoursOfBars(t *testing.T) {
	updates := 100_000
	if os.Getenv("KEYWAY_EIGHT_HOURS") != "" { // make eight-hours
		updates = 3_000_000
	}
	j := open(t, t.TempDir(), Default)
	e := begin(t, j, "req")
	var most int64
	var memory uint64
	var want strings.Builder
	for i := range updates {
		text := fmt.Sprintf("\r%3d%%|%-10s| %d/%d [%02d:%02d:%02d<?, %d.00it/s]", i*100/updates, strings.Repeat("#", i*10/updates), i, updates, i/375_000, i/6_250%60, i/104%60, i%200)
		if i%10_000 == 0 {
			text = fmt.Sprintf("\repoch %-80d\n", i/10_000)
			fmt.Fprintf(&want, "epoch %d\n", i/10_000)
		}
		e.Queue(said("stream", map[string]string{"name": "stderr", "text": text}))
		if i%100 == 0 { // as messages arrive together at 1,000 a second and more
			if err := j.Flush(Mark{int64(i + 1), uint32(i)}); err != nil {
				t.Fatal(err)
			}
			most = max(most, j.Size())
		}
		if i%50_000 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			memory = max(memory, m.HeapInuse)
		}
	}
	appendAll(t, e, replied(), status("idle"))
	got := shown(t, e)
	plain := strings.Builder{}
	for line := range strings.Lines(seen(got)) {
		if strings.HasPrefix(line, "epoch") {
			plain.WriteString(strings.TrimRight(line, " \n") + "\n")
		}
	}
	if plain.String() != want.String() {
		t.Errorf("it shows %.300q", got)
	}
	t.Logf("%d updates: %d bytes at the end, %d at most, %d bytes of memory", updates, e.Size(), most, memory)
	if e.Size() > 10<<20 || most > 10<<20 || memory > 30<<20 {
		t.Errorf("%d bytes at the end, %d at most, %d bytes of memory", e.Size(), most, memory)
	}
}
