package gpu

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"keyway/internal/keyway"
)

// waitFile returns the name of the file for the n-th to wait. Sorted by name, the files are in
// the order of arrival.
func waitFile(n uint64) string { return fmt.Sprintf("%s%0*d", waitPrefix, waitDigits, n) }

// numberOf returns the n of a waitFile, or 0 if the name is not one.
func numberOf(name string) uint64 {
	digits, found := strings.CutPrefix(name, waitPrefix)
	n, err := strconv.ParseUint(digits, 10, 64)
	if !found || err != nil || len(digits) != waitDigits {
		return 0
	}
	return n
}

// waitDigits are the digits of the largest number.
const waitDigits = 20

// queue are those who wait and came first.
type queue struct {
	count  int
	next   wait          // the first of them
	wishes []keyway.GPUs // their requests, up to the first that could use any GPU
	// closed means that a request ahead could use any GPU.
	closed bool
}

// waiting returns those that wait and came before the one whose file is mine, or all if mine is
// "". A file that no process holds belongs to one that has ended. The caller must hold the
// store's lock.
func (p *Pool) waiting(mine string) (queue, error) {
	var q queue
	names, err := p.store.list(waitPrefix)
	if err != nil {
		return q, err
	}
	for _, name := range names {
		if name == mine {
			break
		}
		if numberOf(name) == 0 {
			continue
		}
		data, held, err := p.store.look(name)
		switch {
		case err != nil: // an unreadable request has no turn
		case held:
			q.add(data)
		default:
			p.sweep(name)
		}
	}
	return q, nil
}

// sweep removes the file of one that has ended, if it is ours to remove.
func (p *Pool) sweep(name string) {
	if f, err := p.store.hold(name); err == nil {
		f.release(true)
	}
}

func (q *queue) add(data []byte) {
	q.count++
	if q.closed {
		return
	}
	var w wait
	if json.Unmarshal(data, &w) != nil {
		q.count--
		return
	}
	if q.count == 1 {
		q.next = w
	}
	q.wishes, q.closed = append(q.wishes, w.GPUs), len(w.GPUs.IDs) == 0
}

// waiters returns all that wait, the next one first. The caller must hold the store's lock.
func (p *Pool) waiters() ([]wait, error) {
	names, err := p.store.list(waitPrefix)
	if err != nil {
		return nil, err
	}
	var all []wait
	for _, name := range names {
		data, held, err := p.store.look(name)
		var w wait
		if err == nil && held && numberOf(name) > 0 && json.Unmarshal(data, &w) == nil {
			all = append(all, w)
		}
	}
	return all, nil
}

// maxQueue bounds the requests that wait for the GPUs of one machine.
const maxQueue = 1000

// join puts t at the end of the queue. The caller has the store's lock.
func (t *try) join() error {
	names, err := t.place.store.list(waitPrefix)
	if err != nil {
		return err
	}
	last := uint64(0)
	for _, name := range names {
		last = max(last, numberOf(name))
	}
	if t.queue.count >= maxQueue {
		return errors.New("too many wait already")
	}
	name := waitFile(last + 1)
	f, err := t.place.store.hold(name)
	if err != nil {
		return err
	}
	if err := writeJSON(f, wait{Holder: t.Holder, GPUs: t.GPUs, Since: time.Now().UTC()}); err != nil {
		f.release(true)
		return err
	}
	t.ticket, t.name = f, name
	return nil
}

// leave takes t out of the queue.
func (t *try) leave() {
	if t.ticket != nil {
		t.ticket.release(true)
		t.ticket = nil
	}
}
