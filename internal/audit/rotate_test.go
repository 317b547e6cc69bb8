package audit

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// TestRotationKnowsTheEnd checks that a log knows the same about its end after rotations as a
// reader of its files.
func TestRotationKnowsTheEnd(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	l, path := small(t)
	for i := range 400 {
		verdict := Denied
		if random.IntN(4) == 0 {
			verdict = Allowed
		}
		e := Event{Event: Sign, Verdict: verdict, Reason: strings.Repeat("x", random.IntN(maxField))}
		if err := l.Append(e); err != nil {
			t.Fatal(err)
		}
		again, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(again.end, l.end) {
			t.Fatalf("after %d events: %+v, read: %+v", i+1, l.end, again.end)
		}
		again.Close()
	}
	if r := verify(t, path); r.Kept == 0 {
		t.Errorf("%+v", r)
	}
}

// TestKeptLinesAreCopied checks that the kept lines may exceed the agent's memory many times, and
// are bounded: the oldest complete lines are removed first.
func TestKeptLinesAreCopied(t *testing.T) {
	l, path := newLog(t)
	l.limit, l.files = 16<<10, 256
	fill(t, l, 1)
	kept, err := os.OpenFile(keptPath(path), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	line := []byte(fmt.Sprintf(`{"seq":0,"event":"sign","user":%q}`+"\n", strings.Repeat("u", 1<<10)))
	room := int64(l.files) * l.limit
	if _, err := kept.Write(bytes.Repeat(line, int(room)/len(line))); err != nil {
		t.Fatal(err)
	}
	more := bytes.Repeat([]byte("{}\n"), 1000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, hash, err := l.keep(more)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(nextKept(path))
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) > room || int64(len(data)) < room-2*int64(len(line)) || !bytes.HasPrefix(data, line) || !bytes.HasSuffix(data, more) {
		t.Errorf("%d bytes where %d have room; %q … %q", len(data), room, data[:20], data[len(data)-20:])
	}
	if lines, sum, err := hashLines(nextKept(path)); err != nil || lines != n || sum != hash || n != bytes.Count(data, []byte("\n")) {
		t.Errorf("%d lines %s, read: %d lines %s, %v", n, hash, lines, sum, err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > uint64(room)/4 {
		t.Errorf("%d bytes of memory for %d", took, room)
	}
}
