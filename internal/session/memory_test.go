//go:build linux

package session

import (
	"testing"
)

func TestProgramMapping(t *testing.T) {
	for line, want := range map[string]bool{
		"00400000-00698000 r-xp 00000000 fe:00 123                                /bin/guest\n": true,
		"00698000-00800000 r--p 00298000 fe:00 123                                /bin/guest\n": true,
		"00800000-00900000 rw-p 00400000 fe:00 123                                /bin/guest\n": false,
		"00400000-00698000 r-xp 00000000 fe:00 123                                /bin/other\n": false,
		"c000000000-c000400000 rw-p 00000000 00:00 0 \n":                                        false,
		"": false, "nonsense /bin/guest": false,
	} {
		if _, _, ok := programMapping(line, "/bin/guest"); ok != want {
			t.Errorf("%q: %t", line, ok)
		}
	}
}

func FuzzProgramMapping(f *testing.F) {
	f.Add("00400000-00623000 r-xp 00000000 fe:00 1 /x/y")
	f.Add("ffffffffffffffff-0 ---p 0 0 0 /x/y")
	f.Fuzz(func(t *testing.T, line string) {
		if _, size, ok := programMapping(line, "/x/y"); ok && size == 0 {
			t.Fatal("an empty mapping")
		}
	})
}
