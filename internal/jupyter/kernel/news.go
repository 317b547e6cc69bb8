package kernel

import "time"

// News is a cell whose end no client saw.
type News struct {
	Notebook string  `json:"notebook"` // its path, or those of several with ", " between; empty if it has none
	Result   string  `json:"result"`   // finished, failed or restarted
	Seconds  float64 `json:"seconds"`  // duration of the cell
}

// Untold returns the cells that have ended, took at least the given time, and whose messages no
// client has received completely. It returns each once.
func (k *Kernel) Untold(least time.Duration) (all []News) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil
	}
	for _, e := range k.journal.Executions() {
		if !e.Finished() || !e.Running || e.Told || e.Took() < least {
			continue
		}
		k.report(e.WasTold())
		if k.arrived(e.ID) {
			continue
		}
		n := News{Result: "finished", Seconds: e.Took().Seconds()}
		switch {
		case e.Failed:
			n.Result = "failed"
		case e.Ended && !e.Replied && !e.Idle:
			n.Result = "restarted"
		}
		all = append(all, n)
	}
	return all
}

// Arrived reports whether a client has confirmed all messages of an execution.
func (k *Kernel) Arrived(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.arrived(id)
}

// arrived reports whether a client has confirmed all messages of an execution. The caller holds
// mu.
func (k *Kernel) arrived(id string) bool {
	for _, seq := range k.seen {
		if seq >= k.last[id] {
			return true
		}
	}
	return false
}
