package link

import (
	"net"
	"strings"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// mute accepts connections and says nothing, like a host behind a firewall that stopped
// letting packets through.
func (i *inn) mute(name string, uses ...string) {
	i.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { l.Close() }) // the kernel accepts for it
	_, port, _ := net.SplitHostPort(l.Addr().String())
	i.host(name, append(uses, "HostName 127.0.0.1", "Port "+port)...)
}

// The first host on the way has a time to answer in, also as a jump host. Those behind it
// do not: their time would count that of the logins before.
func TestASilentFirstHostIsGivenUp(t *testing.T) {
	i := newInn(t)
	i.mute("silent")
	i.host("behind", "ProxyJump silent", "HostName 127.0.0.1", "Port 22")
	i.everywhere()
	for _, c := range []struct{ place, unlimited, says string }{
		{"silent", "silent", "silent does not answer"},
		{"behind", "silent", "silent, on the way to behind, does not answer"},
	} {
		begun := time.Now()
		p, err := i.dialWith(t.Context(), keyway.Place(c.place), c.unlimited, nil)
		if err == nil {
			p.stop()
		}
		e := keyway.AsError(err)
		if err == nil || e.Kind != keyway.Unreachable || !strings.Contains(e.Message, c.says) || !strings.Contains(e.Next, "ssh -v silent true") {
			t.Errorf("%s: %v", c.place, err)
		}
		if took := time.Since(begun); took > 50*time.Second { // else the whole silence, a minute, has passed
			t.Errorf("%s is given up after %v", c.place, took)
		}
	}
}
