//go:build linux

package holder

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/session/joblog"
	"keyway/internal/session/wire"
)

// TestAnOutputKeepsWhatIsNeeded checks that no output is lost that a reader needs: not by full
// segments or indexes, nor while the log cannot be written.
func TestAnOutputKeepsWhatIsNeeded(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 5))
		dir := t.TempDir()
		log, err := joblog.Create(dir, joblog.Bounds{Segment: 1 << 20, Records: 1 + r.Int64N(200), Segments: 4})
		if err != nil {
			t.Fatal(err)
		}
		output := newOutput(log)
		now := time.Now()
		output.now = func() time.Time { return now }
		var printed bytes.Buffer
		var got []byte
		var both sync.WaitGroup
		w, read := output.waitFor(0), output.newWatcher(true)
		both.Go(func() {
			buf := make([]byte, wire.MaxData)
			for at := uint64(0); ; {
				w.passed(at)
				n, s, err := output.read(buf[:1+rand.IntN(wire.MaxData)], at)
				if _, ended := output.state(); err != nil && ended {
					return
				} else if err != nil {
					<-read.wake
					continue
				} else if s == wire.Lost {
					t.Errorf("seed %d: %d bytes are lost at %d", seed, n, at)
				}
				got, at = append(got, buf[:min(n, wire.MaxData)]...), at+n
			}
		})
		for range 200 {
			p := make([]byte, 1+r.IntN(drainBuffer))
			for i := range p {
				p[i] = byte(r.Uint32())
			}
			printed.Write(p)
			output.room()
			switch r.IntN(20) {
			case 0:
				reopenFiles(t, dir, os.O_RDONLY)
			case 1:
				reopenFiles(t, dir, os.O_RDWR)
				output.mu.Lock()
				now = now.Add(2 * joblog.RetryEvery)
				output.mu.Unlock()
			}
			output.append(wire.Stream(1+r.IntN(2)), p)
		}
		output.end()
		both.Wait()
		if !bytes.Equal(got, printed.Bytes()) {
			t.Fatalf("seed %d: %d bytes of %d, or others", seed, len(got), printed.Len())
		}
		log.Close()
	}
}

// reopenFiles opens the files of a log again under the same descriptors. If they are read-only, the
// log cannot be written.
func reopenFiles(tb testing.TB, dir string, flags int) {
	tb.Helper()
	open, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		tb.Fatal(err)
	}
	for _, link := range open {
		path, err := os.Readlink(link)
		if err != nil || filepath.Dir(path) != dir || strings.HasSuffix(path, " (deleted)") {
			continue
		}
		fd, err := strconv.Atoi(filepath.Base(link))
		if err != nil {
			tb.Fatal(err)
		}
		again, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if err != nil {
			tb.Fatal(err)
		}
		if err := unix.Dup3(again, fd, unix.O_CLOEXEC); err != nil {
			tb.Fatal(err)
		}
		unix.Close(again)
	}
}
