package kernel

import (
	"bufio"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/jupyter/hold"
)

// alarm is a timer of the operating system, with which a goroutine sleeps. time.Sleep rounds to whole
// milliseconds twice, and wakes two threads. The zero value sleeps with time.Sleep.
type alarm struct {
	file *os.File
	raw  syscall.RawConn
}

func newAlarm() (a alarm) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return a
	}
	file := os.NewFile(uintptr(fd), "timer")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return a
	}
	return alarm{file, raw}
}

func (a alarm) close() { _ = a.file.Close() } // fails if there is none

func (a alarm) sleep(d time.Duration) {
	set := false
	once := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if a.raw == nil || a.raw.Read(func(fd uintptr) (woken bool) {
		woken, set = set, true
		return woken || unix.TimerfdSettime(int(fd), 0, &once, nil) != nil
	}) != nil {
		time.Sleep(d)
	}
}

// quiet returns a client's connection that wakes this process only when bytes arrive. r reads from it. A
// connection by TCP is quiet already.
func quiet(conn net.Conn, r *bufio.Reader) net.Conn {
	if _, unix := conn.(*net.UnixConn); !unix || r.Buffered() > 0 {
		return conn
	}
	q, err := hold.Quiet(conn)
	if err != nil {
		return conn
	}
	r.Reset(q)
	return q
}
