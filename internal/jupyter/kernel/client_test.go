package kernel

import (
	"bytes"
	"testing"

	"keyway/internal/jupyter/wire"
)

// TestQueueOfASlowClient checks the messages that wait for a client. Messages in the journal take
// no memory. Of the others, one may have any size, and the rest may have maxQueue bytes.
func TestQueueOfASlowClient(t *testing.T) {
	live := func(size int) item { return item{m: wire.Message{Content: bytes.Repeat([]byte("x"), size)}} }
	recorded := live(maxQueue)
	recorded.recorded, recorded.m.Origin.ID = true, "a"
	half := live(maxQueue/2 + 1)
	for name, c := range map[string]struct {
		items []item
		left  int // items that wait; 0: the client must connect again
	}{
		"a large one":                        {[]item{live(2 * maxQueue)}, 1},
		"a large one after a state":          {[]item{live(100), live(2 * maxQueue)}, 2},
		"a large one before a state":         {[]item{live(2 * maxQueue), live(100)}, 2},
		"a large one after a replay":         {[]item{{replay: "a"}, live(2 * maxQueue)}, 2},
		"a large one among recorded ones":    {[]item{recorded, live(2 * maxQueue), recorded}, 2},
		"two large ones":                     {[]item{live(2 * maxQueue), live(2 * maxQueue)}, 0},
		"a large one and many of half a one": {[]item{live(2 * maxQueue), half, half}, 0},
		"recorded ones":                      {[]item{recorded, recorded, recorded}, 2},
	} {
		client, fits := &client{}, true
		for _, i := range c.items {
			client.queue, client.bytes = append(client.queue, i), client.bytes+i.m.Size()
			fits = fits && (client.bytes <= maxQueue || client.shorten())
		}
		if fits != (c.left > 0) || fits && len(client.queue) != c.left {
			t.Errorf("%s: %d items wait, not %d; there is room: %v", name, len(client.queue), c.left, fits)
		}
	}
}
