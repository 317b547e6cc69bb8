//go:build linux

package proctree

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func FuzzStat(f *testing.F) {
	f.Add([]byte("12 (a (b) c) S 1 12 12 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4711 0"))
	f.Add([]byte("12 ("))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if p, err := Parse(line); err == nil && p.Start == "" {
			t.Errorf("%q: %+v", line, p)
		}
	})
}

func TestStat(t *testing.T) {
	p, err := Parse([]byte("12 (a (b) c) Z 1 12 13 34816 14 4194304 7 8 0 0 0 0 0 0 20 0 1 0 4711 0"))
	want := Process{
		PID: 12, Parent: 1, Group: 12, Session: 13, Terminal: 34816, Foreground: 14, Start: "4711",
		Zombie: true, Exiting: true, Faults: 7, ChildFaults: 8,
	}
	if err != nil || p != want {
		t.Errorf("%+v, %v", p, err)
	}
	self, err := Read(os.Getpid())
	if err != nil || self.PID != os.Getpid() || self.Parent != os.Getppid() || self.Start == "" {
		t.Errorf("%+v, %v", self, err)
	}
}

func TestBelow(t *testing.T) {
	all := []Process{
		{PID: 1}, {PID: 10, Parent: 1}, {PID: 11, Parent: 10}, {PID: 12, Parent: 11, Zombie: true}, {PID: 13, Parent: 12},
		{PID: 20, Parent: 1}, {PID: 30}, {PID: 31, Parent: 30},
	}
	none := func(Process) bool { return false }
	for _, c := range []struct {
		root    int
		foreign func(Process) bool
		want    []int
	}{
		{10, nil, []int{11, 13}},
		// Process 1 of a container also adopts processes that were started in it from outside.
		{1, none, []int{10, 20, 30, 11, 31, 13}},
		{1, func(p Process) bool { return p.PID == 10 }, []int{20, 30, 31}},
	} {
		if got := pids(NewTree(all).Below(c.root, c.foreign)); !slices.Equal(got, c.want) {
			t.Errorf("below %d: %v, want %v", c.root, got, c.want)
		}
	}
	ring := []Process{{PID: 5, Parent: 5}, {PID: 5, Parent: 6}, {PID: 6, Parent: 5}}
	if got := NewTree(ring).Below(5, nil); len(got) != 1 {
		t.Errorf("a ring: %v", got)
	}
}

func pids(all []Process) []int {
	var list []int
	for _, p := range all {
		list = append(list, p.PID)
	}
	return list
}

// sent is a signal that an ending has sent.
type sent struct {
	pid int
	sig unix.Signal
}

// world is a set of processes that end as the test's script demands.
type world struct {
	all   []Process
	kinds map[int]kind
	files map[int][]openFile
	sent  []sent
}

func (w *world) ending(by time.Time) *Ending {
	e := NewEnding(by)
	e.send = func(pid int, sig unix.Signal) error { w.sent = append(w.sent, sent{pid, sig}); return nil }
	e.is = func(p Process) kind { return w.kinds[p.PID] }
	e.open = func(pid int) []openFile { return w.files[pid] }
	return e
}

// step returns the signals that were sent.
func (w *world) step(e *Ending, now time.Time, top int) []sent {
	w.sent = nil
	var first []Process
	for _, p := range w.all {
		if p.PID == top || top == 0 && p.Parent == 1 {
			first = append(first, p)
		}
	}
	e.Step(now, w.all, first)
	return w.sent
}

// end removes a process; its children become those of 1.
func (w *world) end(pid int) {
	w.all = slices.DeleteFunc(w.all, func(p Process) bool { return p.PID == pid })
	for i := range w.all {
		if w.all[i].Parent == pid {
			w.all[i].Parent = 1
		}
	}
}

func (w *world) stop(pid int) {
	for i := range w.all {
		if w.all[i].PID == pid {
			w.all[i].Stopped = true
		}
	}
}

func expect(t *testing.T, what string, got []sent, want ...sent) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: sent %v, want %v", what, got, want)
	}
}

const (
	term = unix.SIGTERM
	hup  = unix.SIGHUP
	stop = unix.SIGSTOP
	cont = unix.SIGCONT
	kill = unix.SIGKILL
)

func TestTheJobIsToldFirstAndOnce(t *testing.T) {
	start := time.Unix(1000, 0)
	w := &world{all: []Process{{PID: 10, Parent: 1}, {PID: 11, Parent: 10}, {PID: 12, Parent: 1}}}
	e := w.ending(start.Add(time.Minute))
	expect(t, "the job", w.step(e, start, 10), sent{10, term})
	expect(t, "while it saves", w.step(e, start, 10))
	w.end(10)
	expect(t, "what it left", w.step(e, start, 0), sent{11, term}, sent{12, term})
	expect(t, "once", w.step(e, start, 0))
	if e.Killing() {
		t.Error("it kills before the time")
	}
	expect(t, "the time is over", w.step(e, start.Add(time.Minute), 0), sent{11, kill}, sent{12, kill})
}

// pipe connects the standard output of processes with the standard input of the next, in a row.
func (w *world) pipe(pids ...int) {
	w.files = map[int][]openFile{}
	for i, pid := range pids[1:] {
		name := fmt.Sprintf("pipe:[%d]", i)
		w.files[pids[i]] = append(w.files[pids[i]], openFile{name: name, write: true, standard: true})
		w.files[pid] = append(w.files[pid], openFile{name: name, read: true, standard: true})
	}
}

// TestReadersOutliveTheirWriter checks that the last output of an ending program reaches its
// readers.
func TestReadersOutliveTheirWriter(t *testing.T) {
	start := time.Unix(1000, 0)
	w := &world{
		all:   []Process{{PID: 9, Parent: 1}, {PID: 10, Parent: 9}, {PID: 11, Parent: 9}, {PID: 12, Parent: 9}},
		kinds: map[int]kind{9: script},
	}
	w.pipe(10, 11, 12)
	e := w.ending(start.Add(time.Minute))
	expect(t, "the program", w.step(e, start, 9), sent{9, stop}, sent{10, term})
	saved := start.Add(30 * time.Second)
	expect(t, "while it saves", w.step(e, saved, 9))
	w.end(10)
	expect(t, "while they write", w.step(e, saved.Add(draining-1), 9))
	w.end(11)
	expect(t, "the one that goes on", w.step(e, saved.Add(2*draining), 9), sent{12, term})
	alone := &world{all: []Process{{PID: 12, Parent: 1}}, files: w.files}
	expect(t, "a filter alone", alone.step(alone.ending(start.Add(time.Minute)), start, 12), sent{12, term})
	late := w.ending(start)
	expect(t, "no time", w.step(late, start, 9), sent{9, kill}, sent{12, kill})
}

// TestTheOrderInAPipeline checks that, in a pipeline, programs that catch SIGTERM are told first,
// and then the writer.
func TestTheOrderInAPipeline(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, c := range []struct {
		what  string
		kinds map[int]kind // of 10, 11 and 12
		pipe  []int
		want  []int
	}{
		{"none catches it", nil, []int{10, 11, 12}, []int{10}},
		{"the reader does", map[int]kind{12: careful}, []int{10, 11, 12}, []int{12}},
		{"the one in the middle does", map[int]kind{11: careful}, []int{10, 11, 12}, []int{11}},
		{"the first and the last do", map[int]kind{10: careful, 12: careful}, []int{10, 11, 12}, []int{10}},
		{"a child of the reader does", map[int]kind{12: script, 13: careful}, []int{10, 11, 12}, []int{13}},
		{"one is beside it", nil, []int{11, 10}, []int{11, 12}},
		{"it is a ring", nil, []int{10, 11, 12, 10}, []int{10, 11, 12}},
		{"it has one member", nil, []int{10, 10}, []int{10, 11, 12}},
	} {
		w := &world{
			all:   []Process{{PID: 9, Parent: 1}, {PID: 10, Parent: 9}, {PID: 11, Parent: 9}, {PID: 12, Parent: 9}, {PID: 13, Parent: 12}},
			kinds: map[int]kind{9: ignoresTERM},
		}
		maps.Copy(w.kinds, c.kinds)
		w.pipe(c.pipe...)
		var told []int
		for _, s := range w.step(w.ending(start.Add(time.Minute)), start, 9) {
			if s.sig == term {
				told = append(told, s.pid)
			}
		}
		if !slices.Equal(told, c.want) {
			t.Errorf("%s: told %v, want %v", c.what, told, c.want)
		}
	}
}

// TestAReaderOfItsChildren checks a reader that has started the writers of its pipeline, as in zsh,
// and other programs that read from their children.
func TestAReaderOfItsChildren(t *testing.T) {
	start := time.Unix(1000, 0)
	out := []openFile{{name: "pipe:[1]", write: true, standard: true}}
	stdin := []openFile{{name: "pipe:[1]", read: true, standard: true}}
	other := []openFile{{name: "pipe:[1]", read: true}}
	for _, c := range []struct {
		what  string
		kind  kind
		files []openFile
		want  []sent
	}{
		{"a pipeline", program, stdin, []sent{{11, term}}},
		{"a pipeline on a terminal", launcher, stdin, []sent{{11, term}}},
		{"one that catches SIGTERM", careful, stdin, []sent{{11, term}}},
		{"a program that reads it", program, other, []sent{{11, term}}},
		{"one that catches SIGTERM, too", careful, other, []sent{{10, term}}},
		{"a shell", script, other, []sent{{10, stop}, {11, term}}},
	} {
		w := &world{
			all:   []Process{{PID: 10, Parent: 1}, {PID: 11, Parent: 10}},
			kinds: map[int]kind{10: c.kind}, files: map[int][]openFile{10: c.files, 11: out},
		}
		e := w.ending(start.Add(time.Minute))
		expect(t, c.what, w.step(e, start, 10), c.want...)
		if c.kind == program {
			last := start.Add(draining * 3 / 2)
			expect(t, c.what+", while its child goes on", w.step(e, start.Add(draining), 10))
			expect(t, c.what+", while its child ends", w.step(e, last, 10))
			w.end(11)
			w.all = append(w.all, Process{PID: 12, Parent: 10})
			w.files[12] = out
			expect(t, c.what+", which may end", w.step(e, last.Add(draining-1), 10))
			expect(t, c.what+", which starts another", w.step(e, last.Add(draining), 10), sent{10, term})
		}
	}
}

// TestTurnsBelowAReader checks that processes below a reader have their turns without delay.
func TestTurnsBelowAReader(t *testing.T) {
	start := time.Unix(1000, 0)
	w := &world{
		all:   []Process{{PID: 10, Parent: 1}, {PID: 11, Parent: 10}, {PID: 12, Parent: 11}},
		kinds: map[int]kind{11: script},
		files: map[int][]openFile{
			10: {{name: "pipe:[1]", read: true}},
			11: {{name: "pipe:[1]", write: true, standard: true}},
		},
	}
	e := w.ending(start.Add(time.Minute))
	expect(t, "what the script runs", w.step(e, start, 10), sent{11, stop}, sent{12, term})
	w.end(12)
	w.stop(11)
	expect(t, "the script", w.step(e, start.Add(TurnPoll), 10), sent{11, term}, sent{11, cont})
}

// TestAShellThatIsKnownLate checks that a shell whose job control is noticed late still gets
// SIGHUP, once.
func TestAShellThatIsKnownLate(t *testing.T) {
	start := time.Unix(1000, 0)
	w := &world{all: []Process{{PID: 10, Parent: 1}}, kinds: map[int]kind{10: program}}
	e := w.ending(start.Add(time.Minute))
	expect(t, "at first", w.step(e, start, 10), sent{10, term})
	w.kinds[10] = prompt
	expect(t, "then", w.step(e, start, 10), sent{10, unix.SIGHUP})
	w.kinds[10] = program
	expect(t, "and no more", w.step(e, start, 10))
	w.kinds[10] = prompt
	expect(t, "at all", w.step(e, start, 10))
}

// TestAProgramThatWaits checks that a program that, like make, does not handle a second SIGTERM while
// it waits for its helpers gets none.
func TestAProgramThatWaits(t *testing.T) {
	start := time.Unix(1000, 0)
	w := &world{all: []Process{{PID: 10, Parent: 1}, {PID: 11, Parent: 10}}, kinds: map[int]kind{10: program}}
	e := w.ending(start.Add(time.Minute))
	expect(t, "the program", w.step(e, start, 10), sent{10, term})
	w.kinds[10] = script
	expect(t, "while it waits", w.step(e, start, 10))
}

func TestWhoseTurnHasNotComeGetsALastCall(t *testing.T) {
	start := time.Unix(1000, 0)
	w := &world{all: []Process{{PID: 10, Parent: 1}, {PID: 11, Parent: 10}}}
	e := w.ending(start.Add(time.Minute))
	w.step(e, start, 10)
	over := start.Add(time.Minute)
	expect(t, "the last call", w.step(e, over, 10), sent{11, term})
	expect(t, "before its end", w.step(e, over.Add(LastCall-1), 10))
	expect(t, "at its end", w.step(e, over.Add(LastCall), 10), sent{10, kill}, sent{11, kill})
	if at := over.Add(LastCall + killTimeout + 1); !e.Hopeless(at) || e.Hopeless(over.Add(LastCall)) {
		t.Error("it waits too short, or for ever")
	}
}

func TestNoTimeAtAll(t *testing.T) {
	start := time.Unix(1000, 0)
	w := &world{all: []Process{{PID: 10, Parent: 1}, {PID: 11, Parent: 10}}}
	expect(t, "no grace", w.step(w.ending(start), start, 10), sent{10, kill}, sent{11, kill})
	e := w.ending(start.Add(time.Minute))
	w.step(e, start, 10)
	e.By(start.Add(time.Hour))
	expect(t, "a later time changes nothing", w.step(e, start.Add(time.Minute), 10), sent{11, term})
	e = w.ending(start.Add(time.Minute))
	w.step(e, start, 10)
	e.Hurry(start)
	expect(t, "in a hurry", w.step(e, start, 10), sent{10, kill}, sent{11, kill})
}

func TestAScriptIsHeldUntilItsProgramHasEnded(t *testing.T) {
	start := time.Unix(1000, 0)
	w := &world{
		all:   []Process{{PID: 10, Parent: 1}, {PID: 11, Parent: 10}, {PID: 12, Parent: 11}},
		kinds: map[int]kind{10: script},
	}
	e := w.ending(start.Add(time.Minute))
	expect(t, "the script and its program", w.step(e, start, 10), sent{10, stop}, sent{11, term})
	w.stop(10)
	expect(t, "while it saves", w.step(e, start, 10))
	w.end(11)
	expect(t, "the script goes on, to its end", w.step(e, start, 10), sent{10, term}, sent{10, cont})
}

// TestALeaderOutlivesOrphans checks that the leader of a terminal's session ends last, because its
// end hangs up the processes in the foreground.
func TestALeaderOutlivesOrphans(t *testing.T) {
	start := time.Unix(1000, 0)
	w := &world{
		all:   []Process{{PID: 10, Parent: 1, Session: 10}, {PID: 11, Parent: 10, Session: 10}, {PID: 12, Parent: 11, Session: 10}},
		kinds: map[int]kind{10: script},
	}
	e := w.ending(start.Add(time.Minute))
	expect(t, "the one that starts the program", w.step(e, start, 10), sent{10, stop}, sent{11, term})
	w.end(11)
	expect(t, "the program", w.step(e, start, 10), sent{12, term})
	expect(t, "while it saves", w.step(e, start, 10))
	w.end(12)
	expect(t, "the leader", w.step(e, start, 10), sent{10, term})
}

func TestAShellComesAfterItsJobs(t *testing.T) {
	start := time.Unix(1000, 0)
	const tty = 34816
	w := &world{
		all: []Process{
			{PID: 10, Parent: 1, Group: 10, Terminal: tty, Foreground: 20},
			{PID: 20, Parent: 10, Group: 20, Terminal: tty, Foreground: 20},
			{PID: 21, Parent: 20, Group: 20, Terminal: tty, Foreground: 20},
			{PID: 30, Parent: 10, Group: 30, Terminal: tty, Foreground: 20, Stopped: true},
		},
		kinds: map[int]kind{10: prompt},
	}
	e := w.ending(start.Add(time.Minute))
	expect(t, "what is in the foreground", w.step(e, start, 10), sent{20, term})
	w.end(21)
	w.end(20)
	for i := range w.all {
		w.all[i].Foreground = 10
	}
	expect(t, "a stopped job in the background", w.step(e, start, 10), sent{30, term}, sent{30, cont})
	w.end(30)
	expect(t, "the shell itself", w.step(e, start, 10), sent{10, term}, sent{10, hup})
}
