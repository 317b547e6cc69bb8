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
	return inNetwork(h, func() (net.Conn, error) { return dialer.DialContext(ctx, "tcp", address) })
}

// Listen listens inside the host on a TCP address given in numbers. The
// listener is this process's, and outlives the host.
func (h *Host) Listen(address string) (net.Listener, error) {
	return inNetwork(h, func() (net.Listener, error) { return net.Listen("tcp", address) })
}

// inNetwork makes a socket in the host's network. The socket stays in that network.
func inNetwork[T any](h *Host, do func() (T, error)) (T, error) {
	if h.pid == 0 {
		return do()
	}
	type result struct {
		socket T
		err    error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var r result
		if r.err = h.enterNetwork(); r.err == nil {
			r.socket, r.err = do()
		}
		done <- r
	}()
	r := <-done
	return r.socket, r.err
}

func (h *Host) enterNetwork() error {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", h.pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Setns(fd, unix.CLONE_NEWNET)
}
