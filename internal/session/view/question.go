//go:build linux

package view

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/session/wire"
)

// question is what Ctrl-C is to mean, put to the user of a terminal. While it is
// open, no output is shown and what is typed is the answer.
type question struct {
	name string // of the session, for people
	out  *os.File
	done chan struct{} // closed when nobody types any more

	mu    sync.Mutex
	open  chan struct{} // closed by the answer; nil: nothing is asked
	kills bool          // the session is being killed
	key   rune          // was typed, and nothing else since; noKey: none was
	burst bool          // so much came that no person has typed it
}

// ask asks and waits for the answer.
func (q *question) ask() error {
	open := make(chan struct{})
	q.mu.Lock()
	q.open, q.key, q.burst = open, noKey, false
	q.mu.Unlock()
	_, err := q.out.WriteString("\r\n[Ctrl-C: s stops " + q.name + ", k kills it, l leaves it running (and so does Ctrl-C), any other key goes on] ")
	select {
	case <-open:
	case <-q.done:
	}
	return err
}

func (q *question) isOpen() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.open != nil
}

// patience is how long nothing must follow what was typed for it to be the answer.
func (q *question) patience() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.key != noKey || q.burst {
		return settled
	}
	return -1
}

// typed takes what was typed: one key, or more than that, which is no answer.
func (q *question) typed(key rune, only bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if only && !q.burst && (q.key == noKey || q.key == key) {
		q.key = key
		return
	}
	q.key, q.burst = noKey, true
}

// killMillis is what a job that is killed gets to end by itself, in milliseconds.
const killMillis = 10_000

// settle is called when nothing has followed what was typed. It acts on the answer, if
// that is one, and reports whether the user leaves.
func (q *question) settle(conn *wire.Connection) (leave bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.key == noKey || q.open == nil {
		q.burst = false
		return false
	}
	said := "go on"
	switch q.key {
	case 's', 'S':
		said = "stop: SIGINT is sent; if it goes on: Ctrl-C, k"
		_ = conn.Write(wire.Signal{Number: byte(unix.SIGINT)})
	case 'k', 'K':
		end := wire.End{}
		if said = "kill now"; !q.kills {
			said = "kill within 10s; at once: Ctrl-C, k"
			end.GraceMillis = killMillis
		}
		q.kills = true
		_ = conn.Write(end)
	case 'l', 'L', 'd', 'D', ctrlC:
		said, leave = "leave", true
	}
	_, _ = q.out.WriteString(said + "\r\n")
	if !leave {
		close(q.open)
		q.open = nil
	}
	return leave
}
