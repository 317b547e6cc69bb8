package stream

import "time"

// Times of the detection of silence.
const (
	busyPing     = 2 * time.Second  // without proof of life while something is unacknowledged
	clientPing   = 15 * time.Second // without proof of life
	serverPing   = 20 * time.Second // without a sign; longer, so that only the client asks
	suspectTime  = 3 * time.Second  // a PING without answer
	deadTime     = 10 * time.Second
	lateTime     = time.Second // a timer this late says that this process stood still
	maxDoublings = 4           // doublings of the two waits for a PONG
)

// verdict is what the detector thinks of the path.
type verdict int

const (
	pathFine verdict = iota
	pathAsk          // send a PING
	pathSuspect
	pathDead
)

// detector watches one path for silence. It has no clock of its own: it is told
// the time, and says when it wants to be asked again.
type detector struct {
	client bool
	heard  time.Time // when anything came
	proof  time.Time // when it was last proved that the other end hears us
	asked  time.Time // when the PING was sent that waits for its answer; zero: none
	busy   time.Time // since when something is unacknowledged; zero: nothing
	wake   time.Time // when judge asked to be called again

	// A path may be so slow that a frame takes longer than the wait for an answer:
	// if each is given up for the next, none carries anything. So the waits double
	// with each that ended under suspicion, and halve when proof is quick.
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

// sending is told whether anything is unacknowledged.
func (d *detector) sending(now time.Time, unacked bool) {
	switch {
	case !unacked:
		d.busy = time.Time{}
	case d.busy.IsZero():
		d.busy = now
	}
}

// proved is told that the other end has heard us.
func (d *detector) proved(now time.Time) {
	if now.Sub(d.waiting()) < suspectTime {
		d.doublings = max(d.doublings-1, 0)
	}
	d.proof, d.asked, d.suspected = now, time.Time{}, false
}

// waiting is since when proof of life could have come.
func (d *detector) waiting() time.Time {
	switch {
	case d.busy.IsZero():
		return d.asked
	case d.busy.After(d.proof):
		return d.busy
	}
	return d.proof
}

// pingAt is when the next PING is due if nothing happens.
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

// judge says what to think of the path now, and sets when to ask again.
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
