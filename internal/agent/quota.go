package agent

import "net"

// Connections that are remote, by their socket or by their first bind, have a quota of
// their own: however many there are, none on this machine ends for them.

// admit makes the value for a connection, and a place for it if need be.
func (a *Agent) admit(conn net.Conn, remote bool) *connection {
	c := &connection{agent: a, conn: conn, route: route{remote: remote, far: remote}, number: a.connections.Add(1)}
	c.touch()
	c.peer, c.stranger = peerOf(conn)
	a.mu.Lock()
	defer a.mu.Unlock()
	c.remote = remote
	a.enforceQuotaLocked(c)
	a.open[c] = struct{}{}
	return c
}

// turnRemote makes the connection count as remote.
func (a *Agent) turnRemote(c *connection) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !c.remote {
		c.remote = true
		a.enforceQuotaLocked(c)
	}
}

// enforceQuotaLocked ends a connection if there is one too many of the same kind as c. It chooses
// among those of the process that has most: first those that wait for no answer, and of these the
// one that was idle longest.
func (a *Agent) enforceQuotaLocked(c *connection) {
	most, limit := map[int]int{}, maxConnections
	if c.remote {
		limit = maxRemote
	}
	total := 0
	for o := range a.open {
		if o != c && o.remote == c.remote {
			most[o.peer.pid]++
			total++
		}
	}
	pid := c.peer.pid
	if total < limit {
		if !c.remote || !c.peer.known || most[pid] < maxRemotePerPeer {
			return
		}
	} else {
		for p, n := range most {
			if n > most[pid] {
				pid = p
			}
		}
	}
	if o := a.oldestLocked(c, pid); o != nil {
		delete(a.open, o)
		o.conn.Close()
	}
}

// oldestLocked returns the connection to end among those of a process that are like c.
func (a *Agent) oldestLocked(c *connection, pid int) (oldest *connection) {
	for o := range a.open {
		if o == c || o.remote != c.remote || o.peer.pid != pid {
			continue
		}
		if oldest == nil || o.before(oldest) {
			oldest = o
		}
	}
	return oldest
}

func (c *connection) before(other *connection) bool {
	if waits, otherWaits := c.waiting.Load(), other.waiting.Load(); waits != otherWaits {
		return otherWaits
	}
	return c.active.Load() < other.active.Load()
}

func (a *Agent) gone(c *connection) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, c)
}
