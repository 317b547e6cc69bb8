package stream

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// moody is a writer that takes a random part of what it is offered without waiting.
type moody struct {
	mu     sync.Mutex
	r      *rand.Rand
	got    bytes.Buffer
	atOnce int   // bytes that it took without waiting
	refuse error // of Write, and nothing is taken
}

func (m *moody) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse != nil {
		return 0, m.refuse
	}
	return m.got.Write(p)
}

func (m *moody) WriteAtOnce(bufs net.Buffers) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse != nil {
		return 0
	}
	all := bytes.Join(bufs, nil)
	switch m.r.IntN(4) {
	case 0:
	case 1:
		n = m.r.IntN(len(all) + 1)
	default:
		n = len(all)
	}
	m.got.Write(all[:n])
	m.atOnce += n
	return n
}

// TestDeliveryKeepsTheOrder sends through paths that are cut, to a writer that takes parts. Every
// byte must come once and in order, whether the reader of a path writes it or CopyTo.
func TestDeliveryKeepsTheOrder(t *testing.T) {
	l := newLab(t)
	defer l.close()
	l.net.shape = func(n int, line *line) {
		if n < 20 {
			line.down.cutAt = 150<<10 + n*6007
		}
	}
	client, server := l.pair()
	defer client.Close()
	r := rand.New(rand.NewPCG(13, 1))
	sent, to := random(r, 4<<20), &moody{r: rand.New(rand.NewPCG(13, 2))}
	var writer sync.WaitGroup
	writer.Go(func() {
		for rest := sent; len(rest) > 0; {
			n := min(len(rest), 1+r.IntN(60<<10))
			if _, err := server.Write(rest[:n]); err != nil {
				t.Errorf("write: %v", err)
				return
			}
			rest = rest[n:]
		}
		server.CloseWrite()
	})
	n, err := client.CopyTo(to)
	writer.Wait()
	if err != nil || !bytes.Equal(to.got.Bytes(), sent) || to.atOnce == 0 {
		t.Errorf("%d bytes of %d came, %d of them at once: %v", to.got.Len(), len(sent), to.atOnce, err)
	}
	if int(n) != len(sent) {
		t.Errorf("CopyTo counts %d bytes of %d", n, len(sent))
	}
}

// TestDeliveryEndsWithCopyTo has a deadline end CopyTo. What comes after that is for the next
// Read.
func TestDeliveryEndsWithCopyTo(t *testing.T) {
	l := newLab(t)
	defer l.close()
	client, server := l.pair()
	defer client.Close()
	to := &moody{r: rand.New(rand.NewPCG(13, 3))}
	var copier sync.WaitGroup
	copier.Go(func() {
		if _, err := client.CopyTo(to); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("CopyTo ended by %v", err)
		}
	})
	client.SetReadDeadline(time.Unix(1, 0))
	copier.Wait()
	client.SetReadDeadline(time.Time{})
	before := to.got.Len()
	exchange(t, server, client, "after")
	if to.got.Len() != before {
		t.Errorf("the writer was given %q", to.got.Bytes()[before:])
	}
}

// TestDeliveryLeavesErrorsToCopyTo has a writer fail: CopyTo returns the error.
func TestDeliveryLeavesErrorsToCopyTo(t *testing.T) {
	l := newLab(t)
	defer l.close()
	client, server := l.pair()
	defer client.Close()
	to := &moody{r: rand.New(rand.NewPCG(13, 4)), refuse: errors.New("broken pipe")}
	if _, err := server.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CopyTo(to); !errors.Is(err, to.refuse) {
		t.Errorf("CopyTo ended by %v", err)
	}
}
