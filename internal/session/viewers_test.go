//go:build linux

package session

import (
	"errors"
	"keyway/internal/unixsock"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Every goroutine that serves viewers ends when the job has, also those of
// viewers that read nothing.
func TestViewersAreJoined(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	log, err := createLog(dir, keptLog)
	if err != nil {
		t.Fatal(err)
	}
	defer log.close()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	l, err := unixsock.Listen(filepath.Join(dir, sockName), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	tape := newTape(log)
	vs := newViewers(&holder{job: &job{input: writer}, tape: tape}, window{24, 80})
	accepted := make(chan struct{})
	go func() { vs.accept(l); close(accepted) }()

	silent, err := net.Dial("unix", filepath.Join(dir, sockName))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	stuck := attachTo(t, dir, hello{Flags: flagOutput | flagInput})
	defer stuck.close()
	good := attachTo(t, dir, hello{Flags: flagOutput})
	defer good.close()
	if err := stuck.write(input{make([]byte, maxPayload)}); err != nil { // the job does not read it
		t.Fatal(err)
	}
	tape.append(stdout, make([]byte, 8<<20))
	tape.finish()
	vs.end(jobEnd{code: 7})
	var got gathered
	if status, err := good.pump(&got); err != nil || status.code != 7 || got.all.Len() != 8<<20 {
		t.Errorf("%+v, %v, %d bytes", status, err, got.all.Len())
	}
	good.close()
	l.Close()
	<-accepted
	vs.job.closeInput()
	vs.wait(50 * time.Millisecond)
	if _, err := stuck.pump(&got); !errors.Is(err, errGone) {
		t.Errorf("a viewer that was dropped is told %v", err)
	}
}

func attachTo(t *testing.T, dir string, h hello) *connection {
	t.Helper()
	c, err := connect(dir, h)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
