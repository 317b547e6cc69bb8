//go:build linux

package holder

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"keyway/internal/session/wire"
)

// TestPipesAreReadInTheOrderOfTheirOutput checks that the pipe that got output first is read first,
// also if both have some when the holder looks, and after the output was cut off.
func TestPipesAreReadInTheOrderOfTheirOutput(t *testing.T) {
	for _, cut := range []bool{false, true} {
		var outs []source
		var ends []*os.File
		for _, stream := range []wire.Stream{wire.Stdout, wire.Stderr} {
			s, w, err := openPipe(stream)
			if err != nil {
				t.Fatal(err)
			}
			defer closeAll(s.f, w)
			outs, ends = append(outs, s), append(ends, w)
		}
		p, err := newPoller(outs)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(p.epoll)
		defer unix.Close(p.news)
		for _, order := range [][]int{{0, 1}, {1, 0}, {1, 0}, {0, 1}, {0}, {1}} {
			for _, i := range order {
				if _, err := ends[i].WriteString("line\n"); err != nil {
					t.Fatal(err)
				}
			}
			if cut {
				p.cutOff()
			}
			var got []int
			for range order {
				i := p.next()
				if i < 0 {
					break
				}
				if n, err := unix.Read(outs[i].fd, make([]byte, 64)); n != 5 {
					t.Fatalf("read %d bytes, %v", n, err)
				}
				p.watch(unix.EPOLL_CTL_MOD, outs[i].fd, i)
				got = append(got, i)
			}
			if !slices.Equal(got, order) {
				t.Errorf("cut off %v: read %v, written %v", cut, got, order)
			}
		}
		if cut && p.next() >= 0 {
			t.Error("an empty pipe was to be read")
		}
	}
}
