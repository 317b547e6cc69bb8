//go:build unix

package stream

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// sockets makes two connected unix sockets, as between processes.
func sockets(b testing.TB) (near, far net.Conn) {
	b.Helper()
	l, err := net.Listen("unix", filepath.Join(b.TempDir(), "s"))
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	near, err = net.Dial("unix", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		near.Close()
		far.Close()
	})
	return near, far
}

// way is a connection for a benchmark, from near to far and back.
type way struct{ near, far net.Conn }

// rawWay returns the path without the stream. At both ends, a goroutine copies between a socket and
// the path, as the stream's users do.
func rawWay(b *testing.B) way {
	near, a := sockets(b)
	p, q := sockets(b)
	z, far := sockets(b)
	join(b, a, p)
	join(b, q, z)
	return way{near, far}
}

// streamWay returns the same with the stream over the path.
func streamWay(b *testing.B) way {
	near, a := sockets(b)
	z, far := sockets(b)
	client, server := benchPair(b)
	join(b, a, client)
	join(b, server, z)
	return way{near, far}
}

func benchPair(b *testing.B) (client, server *Conn) {
	b.Helper()
	return benchServer(b)()
}

// benchServer returns a function that makes one more stream to one server.
func benchServer(b testing.TB) func() (client, server *Conn) {
	b.Helper()
	s, err := NewServer(ServerConfig{HostKey: fixedKey, MaxStreams: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	var paths sync.WaitGroup
	b.Cleanup(func() {
		s.Close()
		paths.Wait()
	})
	budget := NewBudget(DefaultBudget)
	dial := func(context.Context) (net.Conn, error) {
		p, q := sockets(b)
		paths.Go(func() { s.Handle(context.Background(), q) })
		return p, nil
	}
	return func() (client, server *Conn) {
		client, err := Dial(context.Background(), Config{Dial: dial, HostKey: fixedPublic, Budget: budget})
		if err != nil {
			b.Fatal(err)
		}
		if server, err = s.Accept(); err == nil {
			err = server.Vouch()
		}
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { client.CloseWithError(io.ErrClosedPipe) })
		return client, server
	}
}

// join copies both ways until the benchmark ends. A pure Go loop: splice would
// make the path without the stream faster than any program that looks at bytes.
func join(b *testing.B, a, z net.Conn) {
	var all sync.WaitGroup
	copyTo := func(to, from net.Conn) {
		defer closeWrite(to)
		if w, ok := from.(*Conn); ok {
			w.CopyTo(to)
			return
		}
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				if _, err := to.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	all.Go(func() { copyTo(a, z) })
	all.Go(func() { copyTo(z, a) })
	b.Cleanup(func() {
		a.Close()
		z.Close()
		all.Wait()
	})
}

func closeWrite(c net.Conn) {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		w.CloseWrite()
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var ways = map[string]func(*testing.B) way{"raw": rawWay, "stream": streamWay}

const chunkOfBench = 1 << 20

// BenchmarkThroughput measures a transfer through two sockets and the path between them. The CPU
// time is that of the whole process: of both ends, and of the benchmark's own writer and reader.
func BenchmarkThroughput(b *testing.B) {
	for name, begin := range ways {
		b.Run(name, func(b *testing.B) { throughput(b, begin(b)) })
	}
}

func throughput(b *testing.B, w way) {
	b.SetBytes(chunkOfBench)
	var reader sync.WaitGroup
	reader.Go(func() { io.CopyN(discard{make([]byte, 256<<10)}, w.far, int64(b.N)*chunkOfBench) })
	block := make([]byte, chunkOfBench)
	before := cpuTime()
	b.ResetTimer()
	for range b.N {
		if _, err := w.near.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	reader.Wait()
	b.StopTimer()
	gib := float64(b.N) * chunkOfBench / (1 << 30)
	b.ReportMetric((cpuTime()-before).Seconds()/gib, "cpu-s/GiB")
}

// discard reads in large pieces, so that it is not the bottleneck.
type discard struct{ buf []byte }

func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) ReadFrom(r io.Reader) (total int64, err error) {
	for {
		n, err := r.Read(d.buf)
		total += int64(n)
		if err != nil {
			return total, nil
		}
	}
}

// BenchmarkLatency measures a round trip of one byte.
func BenchmarkLatency(b *testing.B) {
	for name, begin := range ways {
		b.Run(name, func(b *testing.B) {
			w := begin(b)
			go io.Copy(struct{ io.Writer }{w.far}, struct{ io.Reader }{w.far})
			var one [1]byte
			for range b.N {
				w.near.Write(one[:])
				w.near.Read(one[:])
			}
		})
	}
}

// BenchmarkIdle measures the memory of an idle stream.
func BenchmarkIdle(b *testing.B) {
	for range b.N {
		heap, stack := idleCost(b, thousand)
		b.ReportMetric(heap/1024, "heap-KiB/end")
		b.ReportMetric(stack/1024, "stack-KiB/end")
		b.ReportMetric(idleBaseline(b, thousand)/1024, "sockets-KiB/end")
		b.ReportMetric(float64(runtime.NumGoroutine())/thousand/2, "goroutines/end")
	}
}

const thousand = 1000

// TestThousandIdle checks that each end of an idle stream holds at most 24 KiB (idleBound).
func TestThousandIdle(t *testing.T) {
	heap, stack := idleCost(t, thousand)
	if heap+stack > idleBound {
		t.Errorf("an end of an idle stream holds %.1f KiB of heap and %.1f of stack", heap/1024, stack/1024)
	}
}

// idleCost returns the memory of each end of n idle streams in bytes, including its sockets.
func idleCost(tb testing.TB, n int) (heap, stack float64) {
	var before, after runtime.MemStats
	pair := benchServer(tb)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		client, server := pair()
		if err := touch(client, server); err != nil {
			tb.Fatal(err)
		}
	}
	time.Sleep(2 * serverAckDelay) // the last ACKs
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	ends := float64(n) * 2
	return float64(after.HeapInuse-before.HeapInuse) / ends, float64(after.StackInuse-before.StackInuse) / ends
}

// idleBaseline returns the memory of the sockets alone.
func idleBaseline(b testing.TB, n int) float64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		sockets(b)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	return float64(after.HeapInuse-before.HeapInuse) / float64(n) / 2
}

// touch moves a little both ways, as an ssh that has logged in has done.
func touch(a, z *Conn) error {
	for _, pair := range [][2]*Conn{{a, z}, {z, a}} {
		if _, err := fmt.Fprint(pair[0], "some words"); err != nil {
			return err
		}
		if _, err := io.ReadFull(pair[1], make([]byte, 10)); err != nil {
			return err
		}
	}
	return nil
}
