package docker_test

import (
	"slices"
	"testing"
	"time"

	"keyway/internal/engine/docker"
	"keyway/internal/engine/enginetest"
	"keyway/internal/keyway"
)

// BenchmarkUp measures a workspace of a present image, from Create to a guest
// that serves, beside docker run of the same image, in turns, so that both meet
// the same machine. Removing is not measured.
func BenchmarkUp(b *testing.B) {
	w := onDaemon(b, localDocker).world(b)
	var up, run []time.Duration
	for b.Loop() {
		start := time.Now()
		if _, err := w.Engine.Create(enginetest.Context(b), w.Spec(b, "bench"), enginetest.Quiet); err != nil {
			b.Fatal(enginetest.Full(err))
		}
		up = append(up, time.Since(start))
		if err := w.Engine.Remove(enginetest.Context(b), "bench"); err != nil {
			b.Fatal(err)
		}
		name := w.owner + "-run"
		start = time.Now()
		if out, err := w.tool("run", "-d", "--name", name, w.Image, "/tool", "hang").CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		run = append(run, time.Since(start))
		if out, err := w.tool("rm", "-f", name).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	b.ReportMetric(median(up), "ms/up")
	b.ReportMetric(median(run), "ms/docker-run")
	b.ReportMetric(median(up)-median(run), "ms/more")
	b.ReportMetric(0, "ns/op") // one figure for both would mean nothing
}

func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Microseconds()) / 1000
}

// BenchmarkGuests measures reaching guests by both modes.
func BenchmarkGuests(b *testing.B) {
	d := onDaemon(b, localDocker)
	for mode, opts := range map[string][]docker.Option{"bind": nil, "exec": {docker.ByExec()}} {
		w := d.world(b, opts...)
		made := w.Create(b, w.Spec(b, "bench"))
		b.Run("dial-"+mode, func(b *testing.B) {
			for b.Loop() {
				conn, err := w.Engine.Dial(enginetest.Context(b), made.Name)
				if err != nil {
					b.Fatal(err)
				}
				conn.Close()
			}
		})
		b.Run("list-"+mode, func(b *testing.B) {
			for b.Loop() {
				if list, err := w.Engine.List(enginetest.Context(b)); err != nil || len(list) != 1 || list[0].State != keyway.Running {
					b.Fatal(list, err)
				}
			}
		})
	}
}
