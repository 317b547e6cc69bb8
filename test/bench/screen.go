//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"keyway/internal/screen"
)

// The goals: the speed in units of tmux's, and the memory of the history.
const (
	targetScreen      = 4
	targetHistory     = 9_000_000 // bytes; the holder that has it may take 12 MB
	screenCols        = 100
	screenRows        = 30
	screenLines       = 50_000
	screenMegabytes   = 64
	screenRuns        = 5
	screenPiece       = 4096 // the most that a read of a terminal returns
	screenLongestFeed = 2 * time.Minute
)

var screenSection = section{
	name:  "screen",
	title: "The model of the terminal",
	measure: func(ctx context.Context, _ *bench) (string, error) {
		dir, err := os.MkdirTemp("", "screen")
		if err != nil {
			return "", err
		}
		defer os.RemoveAll(dir)
		var s strings.Builder
		fmt.Fprintf(&s, "The output of a job passes through a terminal of %d columns and %d rows, %d MB of it, with a history of %d lines. "+
			"Megabytes for each second of CPU time, user and system, of the process that reads the terminal; the median of %d, in turns. "+
			"A process that only reads is the upper limit. Feeding is the time without the reading: for tmux its time less that of the process "+
			"that only reads, for the model the time to take the same bytes from memory, %d at once.\n\n"+
			"| output | tmux | keyway | | only reading | feeding: tmux | keyway | |\n|---|--:|--:|--:|--:|--:|--:|--:|\n",
			screenCols, screenRows, screenMegabytes, screenLines, screenRuns, screenPiece)
		var t targets
		for _, kind := range screenOutputs {
			r, err := feedAll(ctx, dir, kind)
			if err != nil {
				return "", err
			}
			theirs := 1 / (1/r.tmux - 1/r.reading)
			fmt.Fprintf(&s, "| %s | %.1f | %.1f | %.1f× | %.1f | %.1f | %.1f | %.1f× |\n",
				kind.name, r.tmux, r.model, r.model/r.tmux, r.reading, theirs, r.alone, r.alone/theirs)
			t.add(fmt.Sprintf("feeding %s ≥ %d × tmux", kind.name, targetScreen), fmt.Sprintf("%.1f ×", r.alone/theirs), r.alone >= targetScreen*theirs)
		}
		theirs, ours, err := historyMemory(ctx, dir)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&s, "\nMemory of %d coloured lines: tmux's server %.1f MB, the model %.1f MB.\n\n", screenLines, mb(theirs), mb(ours))
		t.add(fmt.Sprintf("%d coloured lines ≤ %.0f MB", screenLines, mb(targetHistory)), fmt.Sprintf("%.1f MB", mb(ours)), ours <= targetHistory)
		return s.String() + t.String(), nil
	},
}

// output is a kind of output that jobs print.
type output struct {
	name string
	line func(b *bytes.Buffer, i int)
}

var screenOutputs = []output{
	{"plain lines", func(b *bytes.Buffer, i int) {
		fmt.Fprintf(b, "%08d step %d: loss 0.%04d, learning rate 0.0003, 1234 tokens a second, all as it should be\r\n", i, i*7, i%10000)
	}},
	{"coloured lines", colouredLine},
	{"a progress bar", func(b *bytes.Buffer, i int) {
		fmt.Fprintf(b, "\rtrain: %3d%%|%-40s| %d/2000 [00:%02d<00:%02d, 123.45it/s]", i/20%100, strings.Repeat("█", i/50%40), i%2000, i%60, 59-i%60)
	}},
}

func colouredLine(b *bytes.Buffer, i int) {
	fmt.Fprintf(b, "\x1b[2m%08d\x1b[0m \x1b[1;32mINFO\x1b[0m \x1b[36mtrain.py\x1b[0m:\x1b[38;5;%dm%d\x1b[0m loss=\x1b[33m0.%04d\x1b[0m and some more text after it\r\n",
		i, i%256, i%300, i%10000)
}

// write makes a file with at least size bytes.
func (o output) write(file string, size int) (int, error) {
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		o.line(&b, i)
	}
	return b.Len(), os.WriteFile(file, b.Bytes(), 0o600)
}

// rates are megabytes for a second of CPU time: of tmux, of the model, of a program that only reads
// the terminal, and of the model without a terminal.
type rates struct{ tmux, model, reading, alone float64 }

func feedAll(ctx context.Context, dir string, o output) (rates, error) {
	file := filepath.Join(dir, "output")
	size, err := o.write(file, screenMegabytes*1_000_000)
	if err != nil {
		return rates{}, err
	}
	feeds := []func() (time.Duration, error){
		func() (time.Duration, error) { return feedTmux(ctx, dir, file) },
		func() (time.Duration, error) { return feedModel(newModel(), file) },
		func() (time.Duration, error) { return feedModel(nil, file) },
		func() (time.Duration, error) { return feedFromMemory(newModel(), file) },
	}
	used := make([][]time.Duration, len(feeds))
	for range screenRuns {
		for i, feed := range feeds {
			d, err := feed()
			if err != nil {
				return rates{}, err
			}
			used[i] = append(used[i], d)
		}
	}
	rate := func(i int) float64 { return mb(int64(size)) / median(used[i]).Seconds() }
	return rates{rate(0), rate(1), rate(2), rate(3)}, nil
}

func newModel() *screen.Screen {
	return screen.New(screenCols, screenRows, screen.Options{Lines: screenLines})
}

// feedFromMemory returns the CPU time that the model takes for a file.
func feedFromMemory(s *screen.Screen, file string) (time.Duration, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return threadTimeOf(func() {
		for piece := range slices.Chunk(data, screenPiece) {
			s.Write(piece)
		}
	})
}

func feedTmux(ctx context.Context, dir, file string) (time.Duration, error) {
	m, err := startTmux(dir)
	if err != nil {
		return 0, err
	}
	defer m.stop()
	return m.feed(ctx, file)
}

// historyMemory returns the memory of tmux's server and of the model with all lines.
func historyMemory(ctx context.Context, dir string) (theirs, ours int64, err error) {
	file := filepath.Join(dir, "output")
	var b bytes.Buffer
	for i := range screenLines {
		colouredLine(&b, i)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		return 0, 0, err
	}
	m, err := startTmux(dir)
	if err != nil {
		return 0, 0, err
	}
	defer m.stop()
	if _, err := m.feed(ctx, file); err != nil {
		return 0, 0, err
	}
	if theirs, err = m.resident(); err != nil {
		return 0, 0, err
	}
	b = bytes.Buffer{}
	before := heap()
	s := newModel()
	if _, err := feedModel(s, file); err != nil {
		return 0, 0, err
	}
	ours = heap() - before
	if n := s.HistoryLines(); n < screenLines*99/100 {
		return 0, 0, fmt.Errorf("the model has %d lines of %d", n, screenLines)
	}
	return theirs, ours, nil
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// feedModel passes a file through a terminal to the model, if there is one, and returns the CPU
// time of the reading thread.
func feedModel(s *screen.Screen, file string) (time.Duration, error) {
	ours, theirs, err := pty.Open()
	if err != nil {
		return 0, err
	}
	defer ours.Close()
	if _, err := term.MakeRaw(int(theirs.Fd())); err != nil {
		theirs.Close()
		return 0, err
	}
	cat := exec.Command("cat", file)
	cat.Stdout = theirs
	err = cat.Start()
	theirs.Close()
	if err != nil {
		return 0, err
	}
	used, err := threadTimeOf(func() { show(s, int(ours.Fd())) })
	if err != nil {
		return 0, err
	}
	return used, cat.Wait()
}

// show copies a terminal's output until the terminal closes. It reads without the runtime's poller,
// which would move the reading between threads.
func show(s *screen.Screen, terminal int) {
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.Read(terminal, buf)
		switch {
		case err == unix.EINTR:
		case err != nil || n == 0:
			return
		case s != nil:
			s.Write(buf[:n])
		}
	}
}

// threadTimeOf returns the CPU time of the thread that does the work.
func threadTimeOf(work func()) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := threadTime()
	if err != nil {
		return 0, err
	}
	work()
	after, err := threadTime()
	return after - before, err
}

func threadTime() (time.Duration, error) {
	var u unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_THREAD, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// tmux is a server of our own.
type tmux struct {
	socket string
	pid    string
}

func startTmux(dir string) (*tmux, error) {
	conf := filepath.Join(dir, "tmux.conf")
	options := fmt.Sprintf("set -g status off\nset -g default-size %dx%d\nset -g history-limit %d\n", screenCols, screenRows, screenLines)
	if err := os.WriteFile(conf, []byte(options), 0o600); err != nil {
		return nil, err
	}
	m := &tmux{socket: filepath.Join(dir, "tmux")}
	if _, err := m.run("-f", conf, "new-session", "-d", "-s", "keep", "sleep 10000"); err != nil {
		return nil, err
	}
	pid, err := m.run("display-message", "-p", "#{pid}")
	m.pid = pid
	return m, err
}

func (m *tmux) run(args ...string) (string, error) {
	cmd := exec.Command("tmux", append([]string{"-S", m.socket}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMUX=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("tmux %s: %w: %s", args[0], err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func (m *tmux) stop() { _, _ = m.run("kill-server") }

// feed prints a file in tmux, and returns the CPU time of tmux's server.
func (m *tmux) feed(ctx context.Context, file string) (time.Duration, error) {
	before, err := m.used()
	if err != nil {
		return 0, err
	}
	const shown = "all is shown"
	_, err = m.run("new-session", "-d", "-s", "feed", "stty raw -echo; cat "+file+"; printf '\\033]2;"+shown+"\\033\\\\'; sleep 10000")
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, screenLongestFeed)
	defer cancel()
	for {
		title, err := m.run("display-message", "-p", "-t", "feed", "#{pane_title}")
		if err != nil {
			return 0, err
		}
		if title == shown {
			break
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	after, err := m.used()
	return after - before, err
}

// used returns the server's CPU time until now.
func (m *tmux) used() (time.Duration, error) {
	data, err := os.ReadFile(filepath.Join("/proc", m.pid, "stat"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	const userTime, tick = 11, 10 * time.Millisecond // in fields; of the kernel's clock
	if len(fields) < userTime+2 {
		return 0, fmt.Errorf("%q is no process status", data)
	}
	user, err := strconv.Atoi(fields[userTime])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[userTime+1])
	return time.Duration(user+system) * tick, err
}

// resident returns the server's memory.
func (m *tmux) resident() (int64, error) {
	data, err := os.ReadFile(filepath.Join("/proc", m.pid, "statm"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0, fmt.Errorf("%q is no memory status", data)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}
