//go:build linux

package sftp

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// The names, flags and other parts of random requests. They are few, so that requests affect each
// other.
var (
	someNames  = []string{"file", "new", "link", "dir", "dir/new", "dangling", "empty", "twin", "dirlink/x", "other", "none/x", "dir/inner", "readonly"}
	someFlags  = []int{openRead, openWrite | openCreate, openRead | openWrite, openWrite | openAppend, openWrite | openCreate | openTruncate, openWrite | openCreate | openExclusive, openRead | openWrite | openAppend | openCreate}
	someValues = []uint64{0, 1, 10, 45, 1000, 70000}
)

// sequence returns random requests, the same for the same seed.
func sequence(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	name := func() string { return someNames[r.IntN(len(someNames))] }
	value := func() uint64 { return someValues[r.IntN(len(someValues))] }
	handle := func() string { return h(r.Uint32N(5)) }
	data := func() string { return string(make([]byte, r.IntN(50))) + "data" }
	attrs := func() attributes { return settings[r.IntN(len(settings))] }
	w := &writer{}
	for range n {
		switch r.IntN(22) {
		case 0, 1, 2, 3:
			w.request(fxpOpen, name(), someFlags[r.IntN(len(someFlags))], attributes{})
		case 4, 5, 6:
			w.request(fxpWrite, handle(), value(), data())
		case 7, 8:
			w.request(fxpRead, handle(), value(), uint32(value()))
		case 9:
			w.request(fxpClose, handle())
		case 10:
			w.request([]byte{fxpRemove, fxpRmdir, fxpStat, fxpLstat, fxpReadlink, fxpRealpath}[r.IntN(6)], name())
		case 11:
			w.request(fxpMkdir, name(), attributes{})
		case 12:
			w.request(fxpRename, name(), name())
		case 13:
			w.request(fxpSymlink, name(), name())
		case 14:
			w.request(fxpExtended, "posix-rename@openssh.com", name(), name())
		case 15:
			w.request(fxpExtended, "hardlink@openssh.com", name(), name())
		case 16:
			w.request(fxpExtended, "copy-data", handle(), value(), uint64(100_000), handle(), value())
		case 17:
			w.request(fxpSetstat, name(), attrs())
		case 18:
			w.request(fxpFsetstat, handle(), attrs())
		case 19:
			w.request(fxpOpendir, name())
		case 20:
			w.request(fxpReaddir, handle())
		case 21:
			w.request(fxpFstat, handle())
		}
	}
	return w.b
}

// TestSequences sends many random requests at once, and checks that they are executed in their
// order.
func TestSequences(t *testing.T) {
	t.Parallel()
	server := program(t)
	for _, who := range accounts() {
		t.Run(who.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(60) {
				p := begin(t, server, who)
				p.same(fmt.Sprintf("the requests of seed %d", seed), func(string) []byte { return sequence(seed, 150) })
				p.done()
			}
		})
	}
}
