//go:build linux

package proctree

import (
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// TurnPoll is how often an ending looks whose turn it is.
const TurnPoll = 20 * time.Millisecond

// LastCall is the time between SIGTERM and SIGKILL for processes whose turn had not come
// when the time of an ending was over.
const LastCall = 2 * time.Second

// Ending ends processes in turns: each gets one SIGTERM, and not before those have
// ended that it may need in order to end well, or that need it.
//
//   - At first it is the turn of those at the top: a program whose helpers are gone
//     cannot finish its step. The rest follows when they have ended.
//   - A shell is there for the programs that it runs: it is their turn before. A script
//     is held meanwhile, so that it starts nothing new, unless it catches SIGTERM.
//   - So is a program that has done nothing about SIGTERM, if the terminal is its own: its
//     end would hang up those that it has started.
//   - A shell with job control ignores SIGTERM, and gets SIGHUP with it.
//   - A filter beside a program, as tee is in a pipeline, takes that program's last words:
//     its turn comes when it has not ended a moment after the program.
//
// When the time is over, all processes whose turn has not come get SIGTERM together. Those
// that are left after LastCall are killed.
type Ending struct {
	by      time.Time         // when the turns are over
	kill    time.Time         // when all are killed; zero: not yet known
	killing bool              // SIGKILL was sent
	drained time.Time         // until when filters are waited for
	told    map[identity]bool // those that have got SIGTERM
	hungUp  map[identity]bool // those that have got SIGHUP
	held    map[identity]bool // scripts that were stopped
	send    func(int, unix.Signal) error
	is      func(Process) kind // what a process is
}

// identity names a process for good.
type identity struct {
	pid   int
	start string
}

// kind is the class of a process, as far as its end goes.
type kind int

const (
	program     kind = iota
	script           // one that only waits for what it runs, as a shell does
	ignoresTERM      // one that does so, and ignores SIGTERM
	prompt           // a shell with job control
	filter           // one of filters
)

// draining is how long a filter may take for what the program beside it has written.
const draining = time.Second

// NewEnding makes an ending whose turns are over at that time.
func NewEnding(by time.Time) *Ending {
	return &Ending{by: by, told: map[identity]bool{}, hungUp: map[identity]bool{}, held: map[identity]bool{}, send: unix.Kill, is: kindOf}
}

// kindOf tells what a process is by its program and by what it does on SIGTERM. A shell that
// moves jobs to the foreground of its terminal and back has to ignore SIGTTOU.
func kindOf(p Process) kind {
	name := " " + nameOf(p.PID) + " "
	d := dispositionsOf(p.PID)
	shell := strings.Contains(shells, name)
	switch {
	case strings.Contains(filters, name):
		return filter
	case name == " timeout ": // which sends SIGTERM to its whole group
		return ignoresTERM
	case shell && p.Terminal != 0 && d.ignores(unix.SIGTTOU):
		return prompt
	case d.catches(unix.SIGTERM): // it has its own way to end
		return program
	case d.ignores(unix.SIGTERM):
		if shell {
			return ignoresTERM
		}
	case shell, p.Terminal != 0 && p.Session == p.PID:
		return script
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

// Hurry has the next Step kill all that is left.
func (e *Ending) Hurry(now time.Time) { e.by, e.kill = now, now }

// Step does what is due at that moment: all are the processes that are to end, of which
// it may change the parents, and top those of them at the top. It is to be called again, every few hundredths of a
// second, until none is left.
func (e *Ending) Step(now time.Time, all, top []Process) {
	if now.Before(e.by) {
		adopt(all)
		below := NewTree(all)
		for _, p := range e.beforeFilters(now, foremost(e.turn(nil, below, top))) {
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

// turn appends those to due whose turn it is among processes and what is below them.
func (e *Ending) turn(due []Process, below Tree, processes []Process) []Process {
	for _, p := range processes {
		what, children := program, below[p.PID]
		if told := e.told[identity{p.PID, p.Start}]; len(children) > 0 && !told { // which may show in what it is
			what = e.is(p)
		}
		switch what {
		case program, filter:
			due = append(due, p)
		case script:
			e.hold(p)
			due = e.turn(due, below, children)
		case ignoresTERM, prompt:
			due = e.turn(due, below, children)
		}
	}
	return due
}

// foremost leaves out of due whoever is in the background of a terminal that another
// of due is in the foreground of.
func foremost(due []Process) []Process {
	inFront := func(p Process) bool { return p.Terminal != 0 && p.Group == p.Foreground }
	used := map[int]bool{} // terminals
	for _, p := range due {
		if inFront(p) {
			used[p.Terminal] = true
		}
	}
	return slices.DeleteFunc(due, func(p Process) bool { return used[p.Terminal] && !inFront(p) })
}

// beforeFilters leaves the filters out of due while there is a program beside them, and for
// a moment after.
func (e *Ending) beforeFilters(now time.Time, due []Process) []Process {
	for _, p := range due {
		if e.is(p) != filter {
			e.drained = now.Add(draining)
		}
	}
	if !now.Before(e.drained) {
		return due
	}
	return slices.DeleteFunc(due, func(p Process) bool { return e.is(p) == filter })
}

// tell sends SIGTERM once, SIGHUP to a shell with job control, and sees to it that a
// stopped process gets them. Such a shell may not show what it is at once: while it
// begins to read a line, it has other handlers for a moment.
func (e *Ending) tell(p Process) {
	id := identity{p.PID, p.Start}
	if !e.told[id] {
		e.told[id] = true
		_ = e.send(p.PID, unix.SIGTERM)
	}
	if !e.hungUp[id] && e.is(p) == prompt {
		e.hungUp[id] = true
		_ = e.send(p.PID, unix.SIGHUP)
	}
	if p.Stopped {
		_ = e.send(p.PID, unix.SIGCONT)
	}
}

// Told has the ending send no SIGTERM, nor SIGHUP, to p, which has got another signal.
func (e *Ending) Told(p Process) {
	id := identity{p.PID, p.Start}
	e.told[id], e.hungUp[id] = true, true
}

// hold stops a script until its turn comes.
func (e *Ending) hold(p Process) {
	if id := (identity{p.PID, p.Start}); !e.held[id] {
		e.held[id] = true
		_ = e.send(p.PID, unix.SIGSTOP)
	}
}

// lastCall tells all whose turn has not come, and returns when all are to be killed:
// at once if all have had their turn, or there was no time for any.
func (e *Ending) lastCall(now time.Time, all []Process) (kill time.Time) {
	kill = now
	if len(e.told) == 0 {
		return kill
	}
	for _, p := range all {
		if !e.told[identity{p.PID, p.Start}] {
			kill = now.Add(LastCall)
		}
		e.tell(p)
	}
	return kill
}

// Killing reports whether SIGKILL was sent.
func (e *Ending) Killing() bool { return e.killing }

// killTimeout is what the kernel gets to end what was killed.
const killTimeout = time.Second

// Hopeless reports whether those who are left have not ended although they were
// killed: one that waits for a dead disk cannot be ended.
func (e *Ending) Hopeless(now time.Time) bool {
	return e.killing && now.After(e.kill.Add(killTimeout))
}
