//go:build linux

package view

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/session/wire"
)

// question asks the user of a terminal what Ctrl-C is to mean. While it is open, no output is
// shown, and input is the answer.
type question struct {
	name string // of the session, for people
	out  *os.File
	done chan struct{} // closed when no more input comes

	mu    sync.Mutex
	open  chan struct{} // closed by the answer; nil: no question is open
	kills bool          // the session is being killed
	key   rune          // the only key typed since; noKey: none
	burst bool          // more input came than a person types
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

// patience returns the time in which nothing may follow a key for it to be the answer.
func (q *question) patience() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.key != noKey || q.burst {
		return settled
	}
	return -1
}

// typed notes the input: one key, or more than that, which is no answer.
func (q *question) typed(key rune, only bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if only && !q.burst && (q.key == noKey || q.key == key) {
		q.key = key
		return
	}
	q.key, q.burst = noKey, true
}

// killMillis is the time, in milliseconds, that a killed job has to end by itself.
const killMillis = 10_000

// settle is called when nothing has followed the input. It acts on the answer, if it is one,
// and reports whether the user detaches.
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
