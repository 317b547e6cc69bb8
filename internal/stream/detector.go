package stream

import "time"

// Times of the detection of silence.
const (
	busyPing     = 2 * time.Second  // without proof that the other end hears, while something is unacknowledged
	clientPing   = 15 * time.Second // without such a proof
	serverPing   = 20 * time.Second // without any frame; longer, so that only the client pings
	suspectTime  = 3 * time.Second  // a PING without answer
	deadTime     = 10 * time.Second
	lateTime     = time.Second // a timer this late means that this process was suspended
	maxDoublings = 4           // doublings of the two waits for a PONG
)

// verdict is the detector's judgement of the path.
type verdict int

const (
	pathFine verdict = iota
	pathAsk          // send a PING
	pathSuspect
	pathDead
)

// detector watches one path for silence. It has no clock: the caller passes the time, and gets the
// time of the next call.
type detector struct {
	client bool
	heard  time.Time // when the last frame came
	proof  time.Time // when the other end last proved that it receives
	asked  time.Time // when the unanswered PING was sent; zero: none
	busy   time.Time // since when data is unacknowledged; zero: none is
	wake   time.Time // when judge asked to be called again

	// A path may be so slow that a frame takes longer than the wait for an answer. If every path
	// were given up for the next one, none would carry anything. So the waits double with each path
	// that ended under suspicion, and halve when proof is quick.
	doublings int
	suspected bool
}

// begin starts watching a new path.
func (d *detector) begin(now time.Time) {
	doublings := d.doublings
	if d.suspected {
		doublings = min(doublings+1, maxDoublings)
	}
	*d = detector{client: d.client, heard: now, proof: now, busy: d.busy, doublings: doublings}
}

// sending notes whether data is unacknowledged.
func (d *detector) sending(now time.Time, unacked bool) {
	switch {
	case !unacked:
		d.busy = time.Time{}
	case d.busy.IsZero():
		d.busy = now
	}
}

// proved notes that the other end has received data.
func (d *detector) proved(now time.Time) {
	if now.Sub(d.waiting()) < suspectTime {
		d.doublings = max(d.doublings-1, 0)
	}
	d.proof, d.asked, d.suspected = now, time.Time{}, false
}

// waiting returns the time since which proof could have come.
func (d *detector) waiting() time.Time {
	switch {
	case d.busy.IsZero():
		return d.asked
	case d.busy.After(d.proof):
		return d.busy
	}
	return d.proof
}

// pingAt returns the time of the next PING if nothing happens.
func (d *detector) pingAt() time.Time {
	idle := d.heard.Add(serverPing)
	if d.client {
		idle = d.proof.Add(clientPing)
	}
	if d.busy.IsZero() {
		return idle
	}
	if at := d.waiting().Add(busyPing); at.Before(idle) {
		return at
	}
	return idle
}

// judge returns the verdict on the path, and sets the time of the next call.
func (d *detector) judge(now time.Time) verdict {
	late := !d.wake.IsZero() && now.Sub(d.wake) > lateTime
	if d.asked.IsZero() {
		if now.Before(d.pingAt()) {
			d.wake = d.pingAt()
			return pathFine
		}
		return d.ask(now)
	}
	switch waited := now.Sub(d.asked); {
	case late:
		return d.ask(now)
	case waited >= deadTime<<d.doublings:
		d.wake = now.Add(deadTime) // closing it may take a while
		return pathDead
	case waited >= suspectTime<<d.doublings:
		d.suspected = true
		d.wake = d.asked.Add(deadTime << d.doublings)
		return pathSuspect
	default:
		d.wake = d.asked.Add(suspectTime << d.doublings)
		return pathFine
	}
}

func (d *detector) ask(now time.Time) verdict {
	d.asked, d.wake = now, now.Add(suspectTime<<d.doublings)
	return pathAsk
}
