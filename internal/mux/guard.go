//go:build linux

package mux

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
	"keyway/internal/unixsock"
)

const (
	// guardPause is the interval at which Guard checks the muxes. doorPause is the interval at
	// which it queries the mux that serves.
	guardPause = time.Second
	doorPause  = 3 * time.Second
	// maxSilent bounds the unanswered queries in a row.
	maxSilent = 3
)

// Guard kills muxes that would block ssh, until ctx ends: an ssh that has connected to a socket
// waits for its greeting, even beyond its ConnectTimeout. These are muxes that are stopped at two
// checks in a row, and the mux that the link leads to if it does not answer. When the process that
// guards has ended, a stopped mux continues: it notices that its connections have ended with the
// link, and removes its sockets.
func Guard(ctx context.Context, runtime, link string) {
	guard(ctx, runtime, link, doorPause)
}

func guard(ctx context.Context, runtime, link string, pause time.Duration) {
	var watches sync.WaitGroup
	watches.Go(func() {
		var before map[int]bool
		each(ctx, guardPause, func() { before = endStopped(runtime, before) })
	})
	watches.Go(func() {
		pid, silent := 0, 0
		held := io.NopCloser(nil)
		defer func() { held.Close() }()
		each(ctx, pause, func() {
			now := current(runtime, link)
			if now != pid {
				held.Close()
				held = hold(now)
			}
			if now == 0 || now != pid || proctree.IsStopped(now) || answers(now, pause) {
				pid, silent = now, 0
				return
			}
			if silent++; silent == maxSilent {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		})
	})
	watches.Wait()
}

// hold keeps a connection to a mux's door, if there is one. Its end continues the mux.
func hold(pid int) io.ReadCloser {
	conn, err := unixsock.Dial(filepath.Join(cwdOf(pid), doorName))
	if err != nil {
		return io.NopCloser(nil)
	}
	_ = conn.SetDeadline(time.Now().Add(greetTime))
	_, _ = io.WriteString(conn, whyMark+" "+holdMark+"\n")
	return conn
}

// held keeps conn until its other end has ended, or done is closed.
func held(conn *net.UnixConn, done context.Context) {
	continueAtEnd(conn)
	_ = conn.SetDeadline(time.Time{})
	defer context.AfterFunc(done, func() { conn.Close() })()
	_, _ = io.Copy(io.Discard, conn)
}

// continueAtEnd has the kernel send SIGCONT to this process when the other end of conn is closed,
// even by SIGKILL: a process that is stopped cannot see to it itself.
func continueAtEnd(conn syscall.Conn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_, _ = unix.FcntlInt(fd, unix.F_SETOWN, os.Getpid())
		_, _ = unix.FcntlInt(fd, unix.F_SETSIG, int(unix.SIGCONT))
		if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err == nil {
			_, _ = unix.FcntlInt(fd, unix.F_SETFL, flags|unix.O_ASYNC)
		}
	})
}

// each calls f at intervals until ctx ends.
func each(ctx context.Context, pause time.Duration, f func()) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f()
		}
	}
}

// endStopped kills the muxes that were stopped before and still are. It returns the other stopped
// ones.
func endStopped(runtime string, before map[int]bool) map[int]bool {
	stopped := map[int]bool{}
	dirs, _ := filepath.Glob(filepath.Join(runtime, homePrefix+"*")) // only fails for a malformed pattern
	for _, dir := range dirs {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), homePrefix))
		if err != nil || !isMux(runtime, pid) || !proctree.IsStopped(pid) {
			continue
		}
		if stopped[pid] = !before[pid]; before[pid] {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	return stopped
}

// answers reports whether a mux answers at its door in time. One that is about to end has closed
// the door, which counts as an answer; so does a closed connection of a mux of another build.
func answers(pid int, patience time.Duration) bool {
	conn, err := unixsock.Dial(filepath.Join(cwdOf(pid), doorName))
	if err != nil {
		return !errors.Is(err, unix.EAGAIN) // a full queue
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, whyMark+" \n"); err != nil {
		return !errors.Is(err, os.ErrDeadlineExceeded)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(conn, maxAsk))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

const (
	// readPause is the interval at which a connection to a guest is checked. maxUnread bounds the
	// checks in a row that find input which nothing reads.
	readPause = 2 * time.Second
	maxUnread = 5
)

// awaitStuck returns true if input waits and nothing reads it, and false when done is closed.
// x/crypto reads packets and answers some of them on one goroutine: while keys change, that can
// deadlock, and block every session. Without input, the other end is silent. That may last, because
// the connection is a stream.
func (o *observed) awaitStuck(done <-chan struct{}, pause time.Duration) bool {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for seen := (unread{}); ; {
		select {
		case <-done:
			return false
		case <-tick.C:
		}
		if seen.look(o.reads.Load(), inputWaits(o.Conn)) {
			return true
		}
	}
}

// unread is the result of the checks of a connection.
type unread struct {
	reads int64
	times int // checks in a row at which input waited
}

// look reports whether input has waited at too many checks in a row without a read.
func (u *unread) look(reads int64, waits bool) bool {
	if u.times++; reads != u.reads || !waits {
		u.reads, u.times = reads, 0
	}
	return u.times >= maxUnread
}

// hungUp reports whether the other end of a connection has ended it.
func hungUp(conn net.Conn) bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	at := []unix.PollFd{{Events: unix.POLLRDHUP}}
	err = raw.Control(func(fd uintptr) {
		at[0].Fd = int32(fd)
		_, _ = unix.Poll(at, 0)
	})
	return err != nil || at[0].Revents != 0
}

// inputWaits reports whether the kernel has input for a connection.
func inputWaits(conn net.Conn) bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	if raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }) != nil || err != nil {
		return false
	}
	return n > 0
}
