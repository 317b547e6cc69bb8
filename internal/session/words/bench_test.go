//go:build linux

package words

import (
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// printing is a job that prints lines as fast as it can.
const (
	printed  = 200_000_000
	printing = "yes 'epoch 3 step 1200 loss 0.1234 lr 3e-4 123 samples/s' | head -c 200000000"
)

// BenchmarkPrinting measures the time of a job whose output only the holder reads, against the same
// job with its output read and discarded.
func BenchmarkPrinting(b *testing.B) {
	for name, flag := range map[string]string{"terminal": "-t", "pipes": "-T"} {
		b.Run(name+"/session", func(b *testing.B) {
			l := newLab(b)
			b.SetBytes(printed)
			var busy time.Duration
			for b.Loop() {
				l.ok("run", "-d", flag, "--as", "x", "--", "sh", "-c", printing)
				l.ok("wait", "x")
				b.StopTimer()
				i := l.session("x")
				busy += i.Exit.Ended.Sub(i.Exit.Started)
				l.holderGone(i)
				l.ok("rm", "x")
				b.StartTimer()
			}
			// Without the time that it takes to put the log on disk after the job's end.
			b.ReportMetric(float64(b.N)*printed/1e6/busy.Seconds(), "job-MB/s")
		})
	}
	b.Run("terminal/raw", func(b *testing.B) {
		b.SetBytes(printed)
		for b.Loop() {
			master, slave, err := pty.Open()
			if err != nil {
				b.Fatal(err)
			}
			cmd := exec.Command("sh", "-c", printing)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			drainRaw(b, cmd, master, slave)
		}
	})
	b.Run("pipes/raw", func(b *testing.B) {
		b.SetBytes(printed)
		for b.Loop() {
			r, w, err := os.Pipe()
			if err != nil {
				b.Fatal(err)
			}
			cmd := exec.Command("sh", "-c", printing)
			cmd.Stdout = w
			drainRaw(b, cmd, r, w)
		}
	})
}

func drainRaw(b *testing.B, cmd *exec.Cmd, r, w *os.File) {
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	w.Close()
	_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, 64<<10))
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	r.Close()
}

// BenchmarkRun measures the time from typing keyway run to its end, for a job that does nothing.
func BenchmarkRun(b *testing.B) {
	l := newLab(b)
	for b.Loop() {
		l.ok("run", "--as", "x", "--", "true")
		b.StopTimer()
		l.ok("rm", "x")
		b.StartTimer()
	}
}
