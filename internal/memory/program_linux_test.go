package memory

import (
	"os"
	"strings"
	"testing"
)

const program = "00400000-00698000 r-xp 00000000 fe:00 123                                /bin/keyway\n"

// TestUnwritten checks that only pages that belong to a file and were never written to may be
// dropped.
func TestUnwritten(t *testing.T) {
	const none, some = "Anonymous:             0 kB\n", "Anonymous:             4 kB\n"
	for smaps, want := range map[string]int{
		program + none: 1,
		strings.Replace(program, "r-xp", "r--p", 1) + none:         1,
		program + "Rss:    8 kB\n" + none:                          1,
		program + some:                                             0,
		program:                                                    0,
		strings.Replace(program, "r-xp", "rw-p", 1) + none:         0,
		strings.Replace(program, "r-xp", "r-xs", 1) + none:         0,
		strings.Replace(program, "00698000", "00400000", 1) + none: 0,
		"c000000000-c000400000 rw-p 00000000 00:00 0 \n" + none:    0,
		"7ffff7fc1000-7ffff7fc3000 r-xp 00000000 00:00 0                  [vdso]\n" + none: 0,
		none: 0, "": 0, "nonsense /bin/keyway": 0,
	} {
		if got := len(unwritten(smaps)); got != want {
			t.Errorf("%d ranges of %q, want %d", got, smaps, want)
		}
	}
}

// TestRelease checks that a process continues after its program's pages were dropped, and uses less
// memory.
func TestRelease(t *testing.T) {
	if len(fileRanges()) == 0 {
		t.Fatal("this program's own file is not found in its map")
	}
	before := resident(t)
	for range 3 {
		Release()
	}
	if after := resident(t); after >= before {
		t.Errorf("%q before, %q after", before, after)
	}
}

// resident returns the line with the resident size of the program's files.
func resident(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	line, _, found := strings.Cut(rest, "\n")
	if !found {
		t.Fatal("no RssFile")
	}
	return line
}

func FuzzUnwritten(f *testing.F) {
	f.Add(program + "Anonymous: 0 kB\n")
	f.Fuzz(func(t *testing.T, smaps string) {
		for _, r := range unwritten(smaps) {
			if r.to <= r.from {
				t.Fatal("an empty range")
			}
		}
	})
}
