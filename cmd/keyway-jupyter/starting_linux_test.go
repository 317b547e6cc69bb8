package main

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"keyway/internal/jupyter/wire"
)

// killedWhileKernelsStart kills the program repeatedly while ten kernels start, five at a time. It
// checks that each request is answered once.
func killedWhileKernelsStart(t *testing.T, w *world) {
	moments := rand.New(rand.NewPCG(3, 4))
	for range 2 {
		var pages []*page
		var kernels, first []string
		var ready sync.WaitGroup
		for i := range 5 {
			k := w.front.kernel(t)
			p := w.front.open(t, k, "", wire.V1)
			kernels, pages = append(kernels, k), append(pages, p)
			first = append(first, p.run(fmt.Sprintf("print('first', %d)", i), "aaa"))
		}
		for last, n := 0, 0; n < 3; {
			time.Sleep(time.Duration(moments.IntN(150)) * time.Millisecond) // any moment
			if pid := w.worker(); pid != 0 && pid != last && syscall.Kill(pid, syscall.SIGKILL) == nil {
				last, n = pid, n+1
			}
		}
		for i, k := range kernels {
			<-pages[i].done
			p := w.front.open(t, k, pages[i].session, wire.V1)
			ready.Go(func() {
				want := fmt.Sprintf("first %d\n", i)
				if got := p.until(first[i], "the first cell", func(s *shown) bool { return s.idle && s.replied }); got != want {
					t.Errorf("%s shows %q", k, got)
				}
			})
			pages[i] = p
		}
		ready.Wait()
		for i, p := range pages {
			if got, want := p.ended(p.run("print('then')", "bbb")), "then\n"; got != want {
				t.Errorf("%s shows %q", kernels[i], got)
			}
			p.close()
			w.stock.call(t, "DELETE", "/api/kernels/"+kernels[i], nil, nil)
		}
	}
}
