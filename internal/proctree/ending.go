//go:build linux

package proctree

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// TurnPoll is the interval between two Steps of an ending.
const TurnPoll = 20 * time.Millisecond

// LastCall is the time between SIGTERM and SIGKILL for processes whose turn had not come
// when the time of an ending was over.
const LastCall = 2 * time.Second

// Ending ends processes in turns: each gets one SIGTERM, after the processes that it may need to
// end well, and after those that need it.
//
//   - The processes at the top come first: a program whose helpers have gone cannot finish its
//     step. The rest follows when they have ended.
//   - A shell waits for the programs that it runs, so these come before it. A script is stopped
//     meanwhile, so that it starts nothing new, unless it catches SIGTERM.
//   - A program that does nothing about SIGTERM is treated as a script if the terminal is its own:
//     its end would hang up the programs that it has started.
//   - A shell with job control ignores SIGTERM, and gets SIGHUP with it.
//   - In a pipeline, the programs that catch SIGTERM come first, because the others lose nothing by
//     a later end; among equals, the writer does. The end of its input ends the reader, which gets
//     SIGTERM only if it continues for a moment.
//
// When the time is over, all processes that have not had their turn get SIGTERM together. Those that
// are left after LastCall are killed.
type Ending struct {
	by      time.Time // when the turns are over
	kill    time.Time // when all are killed; zero: not yet known
	killing bool      // SIGKILL was sent
	known   map[identity]*member
	begun   bool // Step was called
	told    bool // a process has got SIGTERM
	send    func(int, unix.Signal) error
	is      func(Process) kind       // the kinds of processes
	open    func(pid int) []openFile // its open files
}

// member is the state of a process in an ending.
type member struct {
	Process
	late         bool      // it was not there at the first Step
	told, hungUp bool      // it has got SIGTERM, SIGHUP
	held         bool      // it is a script that was stopped
	catches      bool      // it, or one that it has started, catches SIGTERM
	fed          time.Time // when others last wrote to its input
	read         time.Time // when it last read what its children print
	files        []openFile
	looked       time.Time // when they were read
}

// identity identifies a process, even after its PID was used again.
type identity struct {
	pid   int
	start string
}

// kind is the class of a process, as far as its end goes.
type kind int

const (
	program     kind = iota
	careful          // one that catches SIGTERM: it has its own way to end
	launcher         // one whose end would hang up those that it has started
	script           // one that only waits for its children, as a shell does
	ignoresTERM      // one that does so, and ignores SIGTERM
	prompt           // a shell with job control
)

const (
	// draining is the time for which a process may continue after the writer of its input has
	// ended.
	draining = time.Second
	// filesHold is the time after which the open files of a process are read again.
	filesHold = time.Second
	// maxPipeline bounds the sibling processes that are examined for pipelines.
	maxPipeline = 64 // bits
)

// NewEnding makes an ending whose turns are over at that time.
func NewEnding(by time.Time) *Ending {
	return &Ending{by: by, known: map[identity]*member{}, send: unix.Kill, is: kindOf, open: openFiles}
}

// of returns the member for p.
func (e *Ending) of(p Process) *member {
	id := identity{p.PID, p.Start}
	m := e.known[id]
	if m == nil {
		m = &member{late: e.begun}
		e.known[id] = m
	}
	m.Process = p
	return m
}

func (e *Ending) members(processes []Process) (members []*member) {
	for _, p := range processes {
		members = append(members, e.of(p))
	}
	return members
}

// kindOf returns the kind of a process, by its program and by its reaction to SIGTERM. A shell that
// moves jobs to the foreground of its terminal and back has to ignore SIGTTOU.
func kindOf(p Process) kind {
	name := " " + nameOf(p.PID) + " "
	d := dispositionsOf(p.PID)
	shell := strings.Contains(shells, name)
	switch {
	case name == " timeout ": // which sends SIGTERM to its whole group
		return ignoresTERM
	case shell && p.Terminal != 0 && d.ignores(unix.SIGTTOU):
		return prompt
	case d.catches(unix.SIGTERM):
		return careful
	case d.ignores(unix.SIGTERM):
		if shell {
			return ignoresTERM
		}
	case shell:
		return script
	case p.Terminal != 0 && p.Session == p.PID:
		return launcher
	}
	return program
}

// By brings the end of the turns forward; a later time than the one that is set
// changes nothing.
func (e *Ending) By(at time.Time) {
	if at.Before(e.by) {
		e.by = at
	}
}

// Hurry makes the next Step kill all processes that are left.
func (e *Ending) Hurry(now time.Time) { e.by, e.kill = now, now }

// Step sends the signals that are due at that moment. all are the processes to be ended, whose parents it may
// change, and top those of them with which the end begins: the others are below these. Step must be called
// again, every few hundredths of a second, until none is left.
func (e *Ending) Step(now time.Time, all, top []Process) {
	if now.Before(e.by) {
		e.members(all)
		e.begun = true
		adopt(all)
		for _, p := range foremost(e.turn(nil, now, NewTree(all), top)) {
			e.tell(p)
		}
		return
	}
	if e.kill.IsZero() {
		e.kill = e.lastCall(now, all)
	}
	if !now.Before(e.kill) {
		e.killing = true
		for _, p := range all {
			_ = e.send(p.PID, unix.SIGKILL)
		}
	}
}

// turn appends to due the processes whose turn it is, among processes and their descendants.
func (e *Ending) turn(due []Process, now time.Time, below Tree, processes []Process) []Process {
	beside := e.members(processes)
	feeds := e.pipelines(now, beside)
	for i, m := range beside {
		if e.waits(now, below, beside, feeds, i) || now.Sub(m.fed) < draining {
			continue
		}
		children := below[m.PID]
		what := program // its end may change its kind
		if !m.told && len(children) > 0 {
			what = e.is(m.Process)
		}
		switch {
		case what <= launcher && !m.told && e.reads(now, m, what, children):
			m.read = now
		case now.Sub(m.read) < draining: // its children have just ended
			continue
		case what == launcher, what == script:
			e.hold(m)
		case what < launcher:
			due = append(due, m.Process)
			continue
		}
		due = e.turn(due, now, below, children)
	}
	return due
}

// reads reports whether m exists to read its children's output: it is the last program of a
// pipeline and has started the others, or it reads their output and does nothing about SIGTERM.
// Children that it has started during the ending do not count, because it could then continue
// without end.
func (e *Ending) reads(now time.Time, m *member, what kind, children []Process) bool {
	for _, c := range e.members(children) {
		if !c.late && feed(e.files(now, c), e.files(now, m), what != careful) {
			return true
		}
	}
	return false
}

// pipelines returns a row of bits for each of the processes beside each other: bit j of row i is
// set if what process i writes reaches process j, directly or not. There are no rows for a single
// process or for too many.
func (e *Ending) pipelines(now time.Time, beside []*member) (feeds []uint64) {
	if n := len(beside); n < 2 || n > maxPipeline {
		return nil
	}
	for i, m := range beside {
		var row uint64
		for j, reader := range beside {
			if i != j && feed(e.files(now, m), e.files(now, reader), true) {
				row |= 1 << j
			}
		}
		feeds = append(feeds, row)
	}
	for k := range feeds {
		for i := range feeds {
			if feeds[i]>>k&1 != 0 {
				feeds[i] |= feeds[k]
			}
		}
	}
	return feeds
}

// waits reports whether process i has to wait for another beside it.
func (e *Ending) waits(now time.Time, below Tree, beside []*member, feeds []uint64, i int) (waits bool) {
	m := beside[i]
	for j := range feeds {
		up := feeds[j] >> i & 1
		if up == feeds[i]>>j&1 {
			continue
		}
		mine, its := e.catches(below, m), e.catches(below, beside[j])
		if its && !mine || up != 0 && its == mine {
			waits = true
			if up != 0 {
				m.fed = now
			}
		}
	}
	return waits
}

// catches reports whether a process, or one that it has started, catches SIGTERM.
func (e *Ending) catches(below Tree, m *member) bool {
	m.catches = m.catches || e.is(m.Process) == careful // one that has begun to end may catch it no more
	for _, c := range e.members(below[m.PID]) {
		m.catches = m.catches || e.catches(below, c)
	}
	return m.catches
}

// files returns the open files of a process.
func (e *Ending) files(now time.Time, m *member) []openFile {
	if now.Sub(m.looked) > filesHold {
		m.looked, m.files = now, e.open(m.PID)
	}
	return m.files
}

// foremost returns due without the processes in the background of a terminal whose foreground
// has another process of due.
func foremost(due []Process) (front []Process) {
	busy := map[int]bool{} // terminals
	for i := range due {
		if due[i].inFront() {
			busy[due[i].Terminal] = true
		}
	}
	for i := range due {
		if p := &due[i]; !busy[p.Terminal] || p.inFront() {
			front = append(front, *p)
		}
	}
	return front
}

func (p *Process) inFront() bool { return p.Terminal != 0 && p.Group == p.Foreground }

// tell sends SIGTERM once, SIGHUP to a shell with job control, and sees to it that a stopped
// process gets them. Such a shell may not be recognized at once: while it begins to read a line, it
// has other handlers for a moment.
func (e *Ending) tell(p Process) {
	m := e.of(p)
	if !m.told {
		m.told, e.told = true, true
		_ = e.send(p.PID, unix.SIGTERM)
	}
	if !m.hungUp && e.is(p) == prompt {
		m.hungUp = true
		_ = e.send(p.PID, unix.SIGHUP)
	}
	if p.Stopped {
		_ = e.send(p.PID, unix.SIGCONT)
	}
}

// Told has the ending send no SIGTERM, nor SIGHUP, to p, which has got another signal.
func (e *Ending) Told(p Process) {
	m := e.of(p)
	m.told, m.hungUp, e.told = true, true, true
}

// hold stops a script until its turn comes.
func (e *Ending) hold(m *member) {
	if !m.held {
		m.held = true
		_ = e.send(m.PID, unix.SIGSTOP)
	}
}

// lastCall tells all whose turn has not come, and returns when all are to be killed:
// at once if all have had their turn, or there was no time for any.
func (e *Ending) lastCall(now time.Time, all []Process) (kill time.Time) {
	kill = now
	if !e.told {
		return kill
	}
	for _, p := range all {
		if !e.of(p).told {
			kill = now.Add(LastCall)
		}
		e.tell(p)
	}
	return kill
}

// Killing reports whether SIGKILL was sent.
func (e *Ending) Killing() bool { return e.killing }

// killTimeout is the time for the kernel to end a killed process.
const killTimeout = time.Second

// Hopeless reports whether those who are left have not ended although they were
// killed: one that waits for a dead disk cannot be ended.
func (e *Ending) Hopeless(now time.Time) bool {
	return e.killing && now.After(e.kill.Add(killTimeout))
}
