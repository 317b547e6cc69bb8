//go:build linux

package words

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/session/joblog"
)

// both prints its input to stdout and, backwards, to stderr: more than the socket takes at a time.
const both = `import os, sys
d = open(sys.argv[1], 'rb').read()
os.write(1, b'begin\n')
for i in range(0, len(d), 1 << 20):
    for fd, p in (1, d[i:i + (1 << 20)]), (2, d[i:i + (1 << 20)][::-1]):
        while p:
            p = p[os.write(fd, p):]
`

// TestOutputArrivesInEveryKindOfFile checks that output arrives byte for byte in every kind of
// file.
func TestOutputArrivesInEveryKindOfFile(t *testing.T) {
	l := newLab(t)
	data := noise(4 << 20)
	source := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(source, data, 0o600); err != nil {
		t.Fatal(err)
	}
	backwards := make([]byte, 0, len(data))
	for piece := range chunks(data, 1<<20) {
		for i := range piece {
			backwards = append(backwards, piece[len(piece)-1-i])
		}
	}
	for kind, open := range map[string]func() (w *os.File, read func() []byte){
		"pipe": pipeEnd, "file": fileEnd(t, 0), "file that is appended to": fileEnd(t, os.O_APPEND), "socket": socketEnd,
		"pipe that does not block": func() (*os.File, func() []byte) {
			w, read := pipeEnd()
			_ = unix.SetNonblock(int(w.Fd()), true)
			return w, read
		},
	} {
		out, readOut := open()
		errs, readErrs := open()
		cmd := l.cmd("run", "-T", "--", "python3", "-c", both, source)
		cmd.Stdout, cmd.Stderr = out, errs
		got := make(chan []byte, 2)
		go func() { got <- readOut() }()
		other := make(chan []byte, 1)
		go func() { other <- readErrs() }()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		out.Close()
		errs.Close()
		if a, b := <-got, <-other; err != nil || !bytes.Equal(a, append([]byte("begin\n"), data...)) || !bytes.Equal(b, backwards) {
			t.Errorf("%s: %d and %d bytes of %d, or others; %v", kind, len(a), len(b), len(data), err)
		}
	}
}

// chunks returns pieces of p.
func chunks(p []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(p) > 0 {
			n := min(size, len(p))
			if !yield(p[:n]) {
				return
			}
			p = p[n:]
		}
	}
}

// noise is text without repetitions.
func noise(size int) []byte {
	p := make([]byte, size)
	x := uint64(88172645463325252)
	for i := range p {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		p[i] = byte(x)
	}
	return p
}

func all(r io.Reader) func() []byte {
	return func() []byte { p, _ := io.ReadAll(r); return p }
}

func pipeEnd() (*os.File, func() []byte) {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	w.Fd() // it blocks, as a shell's does
	return w, all(r)
}

func fileEnd(t *testing.T, flags int) func() (*os.File, func() []byte) {
	n := 0
	return func() (*os.File, func() []byte) {
		n++
		path := filepath.Join(t.TempDir(), fmt.Sprint(n))
		w, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return w, func() []byte { // when it has been closed
			for {
				if _, err := w.Stat(); err != nil {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			p, _ := os.ReadFile(path)
			return p
		}
	}
}

func socketEnd() (*os.File, func() []byte) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	ours := os.NewFile(uintptr(fds[0]), "reader")
	conn, err := net.FileConn(ours)
	if err != nil {
		panic(err)
	}
	ours.Close()
	return os.NewFile(uintptr(fds[1]), "writer"), all(conn)
}

// TestASlowReaderKeepsItsSession checks that a slow reader gets the output of its own session,
// although another session has its name by then.
func TestASlowReaderKeepsItsSession(t *testing.T) {
	l := newLab(t)
	cmd := l.cmd("run", "-T", "--as", "x", "--", "sh", "-c", numbers(200_000))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, "the first bytes", func() { _, err = io.ReadFull(out, make([]byte, 100)) })
	l.ok("wait", "x")
	l.ok("run", "-T", "--as", "x", "--", "sh", "-c", "yes other | head -c 30000000 >&2")
	got := checked{next: 1}
	err = copyWithin(t, &got, out)
	if code := cmd.Wait(); err != nil || code != nil || got.wrong != nil || got.next != 200_000 {
		t.Errorf("%d lines, %v, %v; %v", got.next, err, code, got.wrong)
	}
}

// TestALogThatIsCutOffIsTold checks that a viewer that follows all output reports the bytes that
// are lost when a job truncates its own log.
func TestALogThatIsCutOffIsTold(t *testing.T) {
	l := newLab(t)
	printed, cut := l.fifo(), l.fifo()
	cmd := l.cmd("run", "-T", "--as", "x", "--", "sh", "-c", numbers(200_000)+"; cat "+printed+"; : >"+filepath.Join(l.Dir, "x", "000000000000000.log")+"; cat "+cut)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "all to be in the log", func() bool {
		r, closeLog, err := joblog.Open(filepath.Join(l.Dir, "x"))
		if err != nil {
			return false
		}
		defer closeLog()
		return r.Size == 200_000*100
	})
	l.writeFifo(printed, "")
	l.writeFifo(cut, "")
	err = copyWithin(t, io.Discard, out)
	if err != nil || cmd.Wait() == nil || cmd.ProcessState.ExitCode() != 1 || !bytes.Contains(errs.Bytes(), []byte("missing")) {
		t.Errorf("%v, exit code %d: %s", err, cmd.ProcessState.ExitCode(), errs.String())
	}
}
