package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"keyway/internal/jupyter/wire"
	"keyway/test/await"
)

// TestKilledAtAnyMoment kills the program's child repeatedly while a kernel sends messages about
// three cells as fast as it can: lines, and displays that are too large for the operating system's
// buffer. A real Jupyter server may lose messages, so the test uses none. It checks that no message
// is lost or doubled.
func TestKilledAtAnyMoment(t *testing.T) {
	const kills, messages = 60, 4000
	c := startCrier(t)
	p := c.open(t, crierKernel, "", wire.V1)
	var ids []string
	var requests []wire.Message
	for i := range 3 {
		id, m := c.begin(p, fmt.Sprint("cell ", i), fmt.Sprint("c", i))
		ids, requests = append(ids, id), append(requests, m)
	}
	p.close()
	var want [3]strings.Builder
	var displays [3]int
	var said atomic.Int64
	over := make(chan bool)
	go func() {
		defer close(over)
		r := rand.New(rand.NewPCG(1, 2))
		for i := range messages {
			said.Add(1)
			of := r.IntN(3)
			if r.IntN(50) == 0 {
				displays[of]++
				c.say(requests[of], "iopub", "display_data", map[string]any{"data": map[string]string{"text/plain": strings.Repeat("x", r.IntN(150_000))},
					"metadata": map[string]any{}, "transient": map[string]string{"display_id": fmt.Sprint(i)}})
				continue
			}
			line := fmt.Sprintf("line %d%s\n", i, strings.Repeat(" more", r.IntN(20)))
			want[of].WriteString(line)
			c.say(requests[of], "iopub", "stream", wire.Text{Name: "stdout", Text: line})
		}
		for _, m := range requests {
			c.end(m)
		}
	}()
	moments := rand.New(rand.NewPCG(3, 4))
	n := 0
	for ; said.Load() < messages; n++ {
		if n%5 > 0 { // otherwise while it starts
			until := min(said.Load()+1+moments.Int64N(2*messages/kills), messages)
			await.That(t, "more of what the kernel says", func() bool { return said.Load() >= until })
		}
		time.Sleep(time.Duration(moments.IntN(10_000)) * time.Microsecond)
		c.kill()
		c.keep()
	}
	<-over
	p = c.open(t, crierKernel, p.session, wire.V1)
	for i, id := range ids {
		text := p.ended(id)
		p.mu.Lock()
		s := p.cells[id]
		if text != want[i].String() || len(s.display) != displays[i] || s.updates != displays[i] {
			t.Errorf("cell %d shows %d bytes, not %d; %d displays, shown %d times, not %d", i, len(text), want[i].Len(), len(s.display), s.updates, displays[i])
			t.Log(firstDifference(text, want[i].String()))
		}
		p.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.Logf("%d kills", n); len(c.sockets) != 1 {
		t.Errorf("%d connections to the kernel", len(c.sockets))
	}
}

// firstDifference returns the parts of two texts at which they begin to differ.
func firstDifference(got, want string) string {
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	around := func(s string) string { return s[min(max(at-20, 0), len(s)):min(at+60, len(s))] }
	return fmt.Sprintf("at %d: %q, not %q", at, around(got), around(want))
}
