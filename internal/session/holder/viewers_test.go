//go:build linux

package holder

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keyway/internal/session"
	"keyway/internal/session/joblog"
	"keyway/internal/session/wire"
	"keyway/internal/unixsock"
)

// TestViewersAreJoined checks that every goroutine that serves viewers ends when the job has, also
// those of viewers that read nothing.
func TestViewersAreJoined(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	log, err := joblog.Create(dir, joblog.Kept)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	l, err := unixsock.Listen(filepath.Join(dir, session.SockName), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	output := newOutput(log)
	vs := newViewers(&holder{job: &job{input: writer}, output: output}, wire.Window{Rows: 24, Cols: 80})
	accepted := make(chan struct{})
	go func() { vs.accept(l); close(accepted) }()

	silent, err := net.Dial("unix", filepath.Join(dir, session.SockName))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	stuck := attachTo(t, dir, wire.Hello{Flags: wire.FlagOutput | wire.FlagInput})
	defer stuck.Close()
	good := attachTo(t, dir, wire.Hello{Flags: wire.FlagOutput})
	defer good.Close()
	if err := stuck.Write(wire.Input{Data: make([]byte, wire.MaxPayload)}); err != nil { // the job does not read it
		t.Fatal(err)
	}
	output.append(wire.Stdout, make([]byte, 8<<20))
	output.finish()
	vs.end(session.End{Code: 7})
	var got gathered
	if status, err := good.Pump(&got); err != nil || status.Code != 7 || got.all.Len() != 8<<20 {
		t.Errorf("%+v, %v, %d bytes", status, err, got.all.Len())
	}
	good.Close()
	l.Close()
	<-accepted
	vs.job.closeInput()
	vs.wait(50 * time.Millisecond)
	if _, err := stuck.Pump(&got); !errors.Is(err, wire.ErrGone) {
		t.Errorf("a viewer that was dropped is told %v", err)
	}
}

func attachTo(t *testing.T, dir string, h wire.Hello) *wire.Connection {
	t.Helper()
	c, err := wire.Connect(dir, h)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
