//go:build linux

package words

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestAStormOfSizes checks that every viewer shows the last screen after the windows of two have
// changed their sizes many times, down to one cell, while the job fills both screens.
func TestAStormOfSizes(t *testing.T) {
	l := newLab(t)
	calm := filepath.Join(t.TempDir(), "calm")
	script := fmt.Sprintf(`i=0; while [ ! -e %s ]; do printf '\033[?1049h\033[3;9r\033[31m%%0300d\033[?1049l\n' $i; i=$((i+1)); done
printf '\033[r\033[m\033[2J\033[H'; until s=$(stty size); [ "$s" = '31 97' ]; do sleep 0.1; done; echo $s; read line; printf 'the %%s' end; read line`, calm)
	a := l.startTTY(24, 80, "run", "--as", "x", "--", "sh", "-c", script)
	a.out.expect(t, "00007")
	b := l.startTTY(24, 80, "attach", "x")
	b.out.expect(t, "0000")
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		for _, p := range []*liveProcess{a, b} {
			p.resize(uint16(1+random.IntN(60)), uint16(1+random.IntN(200)))
		}
		if random.IntN(4) == 0 {
			a.resize(1, 1)
		}
		if random.IntN(8) == 0 {
			b.keys("k") // the terminal gets this window's size
		}
	}
	a.resize(31, 97)
	b.resize(31, 97)
	a.keys("k\r")
	if err := os.WriteFile(calm, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a.out.expect(t, "the end")
	b.out.expect(t, "the end")
	c := l.startTTY(31, 97, "attach", "x")
	c.out.expect(t, "31 97")
	c.out.expect(t, "the end")
}
