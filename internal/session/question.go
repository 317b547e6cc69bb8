//go:build linux

package session

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// question is what Ctrl-C is to mean, put to the user of a terminal. While it is
// open, no output is shown and what is typed is the answer.
type question struct {
	name string // of the session, for people
	out  *os.File
	done chan struct{} // closed when nobody types any more

	mu   sync.Mutex
	open chan struct{} // closed by the answer; nil: nothing is asked
}

// ask asks and waits for the answer.
func (q *question) ask() error {
	open := make(chan struct{})
	q.mu.Lock()
	q.open = open
	q.mu.Unlock()
	_, err := fmt.Fprintf(q.out, "\r\n[Ctrl-C: s stops %s, k kills it, l leaves it running, any other key goes on] ", q.name)
	select {
	case <-open:
	case <-q.done:
	}
	return err
}

// killGrace is what a job that is killed gets to end by itself.
const killGrace = 10 * time.Second

// answer takes what was typed if it is an answer, and says whether the user
// leaves.
func (q *question) answer(p []byte, conn *connection) (taken, leave bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open == nil || len(p) == 0 {
		return false, false
	}
	said := "go on"
	switch p[0] {
	case 's', 'S':
		said = "stop"
		_ = conn.write(signalM{byte(unix.SIGINT)})
	case 'k', 'K':
		said = "kill"
		_ = conn.write(end{uint32(killGrace.Milliseconds())})
	case 'l', 'L', 'd', 'D':
		said, leave = "leave", true
	}
	fmt.Fprint(q.out, said, "\r\n")
	if !leave {
		close(q.open)
		q.open = nil
	}
	return true, leave
}
