//go:build linux

package lab

import (
	"context"
	"fmt"
	"net"
	"runtime"

	"golang.org/x/sys/unix"
)

// Dial connects from inside the host to a TCP address given in numbers.
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	// FallbackDelay: the socket is made by the goroutine that asks for it.
	dialer := net.Dialer{FallbackDelay: -1}
	if h.pid == 0 {
		return dialer.DialContext(ctx, "tcp", address)
	}
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := h.enterNetwork(); err != nil {
			done <- result{nil, err}
			return
		}
		conn, err := dialer.DialContext(ctx, "tcp", address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

func (h *Host) enterNetwork() error {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", h.pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Setns(fd, unix.CLONE_NEWNET)
}
