//go:build unix

package hold

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is a connection that two processes hold. The poller of this process watches it only while
// this process waits for it. Otherwise, each message would wake both processes: the parent, which
// does not read it, and the program, which lets messages gather. One goroutine may read or write;
// another may call the other methods.
type Conn struct {
	mu          sync.Mutex
	fd          int      // -1: closed
	wait        *os.File // a copy of the descriptor, while this process waits
	in          *os.File // tells that bytes have arrived (Quiet); nil: wait does
	read, write time.Time
}

// park returns a Conn of a connection. The caller closes that.
func park(c syscall.Conn) (p *Conn, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	p = &Conn{}
	if ctlErr := raw.Control(func(fd uintptr) { p.fd, err = dup(int(fd)) }); ctlErr != nil {
		return nil, ctlErr
	}
	return p, err
}

func dup(fd int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	copied, err := syscall.Dup(fd)
	if err != nil {
		return -1, os.NewSyscallError("dup", err)
	}
	syscall.CloseOnExec(copied)
	return copied, nil
}

// SyscallConn implements syscall.Conn.
func (p *Conn) SyscallConn() (syscall.RawConn, error) { return p.raw(), nil }

func (p *Conn) raw() rawConn { return rawConn{p} }

// rawConn implements syscall.RawConn. Read and Write call f once before they wait.
type rawConn struct{ p *Conn }

func (r rawConn) Control(f func(fd uintptr)) error {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if r.p.fd < 0 {
		return net.ErrClosed
	}
	f(uintptr(r.p.fd))
	return nil
}

func (r rawConn) Read(f func(fd uintptr) bool) error {
	if r.p.in == nil {
		return r.p.use(f, syscall.RawConn.Read)
	}
	in, err := r.p.in.SyscallConn()
	if err != nil {
		return err
	}
	var closed error
	err = in.Read(func(uintptr) (done bool) {
		closed = r.Control(func(fd uintptr) { done = f(fd) })
		return done || closed != nil
	})
	if err != nil {
		closed = r.Control(func(uintptr) {}) // Close has interrupted the wait
	}
	return errors.Join(closed, err)
}

func (r rawConn) Write(f func(fd uintptr) bool) error { return r.p.use(f, syscall.RawConn.Write) }

// use calls f until it reports that it is done, and waits before each call but the first.
func (p *Conn) use(f func(fd uintptr) bool, wait func(syscall.RawConn, func(fd uintptr) bool) error) error {
	done := false
	if err := p.raw().Control(func(fd uintptr) { done = f(fd) }); err != nil || done {
		return err
	}
	file, err := p.watch()
	if err != nil {
		return err
	}
	defer p.unwatch(file)
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	return wait(raw, f)
}

// watch adds the connection to the poller: it does that with every file that does not block.
func (p *Conn) watch() (*os.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd < 0 {
		return nil, net.ErrClosed
	}
	fd, err := dup(p.fd)
	if err != nil {
		return nil, err
	}
	p.wait = os.NewFile(uintptr(fd), "connection")
	return p.wait, errors.Join(p.wait.SetReadDeadline(p.read), p.wait.SetWriteDeadline(p.write))
}

func (p *Conn) unwatch(file *os.File) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wait = nil
	_ = file.Close() // the connection stays open
}

// Read implements net.Conn.
func (p *Conn) Read(b []byte) (n int, err error) {
	if waitErr := p.raw().Read(func(fd uintptr) bool { n, err = again(syscall.Read, fd, b); return !errors.Is(err, syscall.EAGAIN) }); waitErr != nil {
		return 0, waitErr
	}
	if n == 0 && err == nil && len(b) > 0 {
		err = io.EOF
	}
	return max(n, 0), err
}

// Write implements net.Conn.
func (p *Conn) Write(b []byte) (n int, err error) {
	waitErr := p.raw().Write(func(fd uintptr) bool {
		for n < len(b) && err == nil {
			var more int
			more, err = again(syscall.Write, fd, b[n:])
			n += max(more, 0)
		}
		if errors.Is(err, syscall.EAGAIN) {
			err = nil
			return false
		}
		return true
	})
	return n, errors.Join(waitErr, err)
}

// again repeats a system call that a signal has interrupted.
func again(call func(int, []byte) (int, error), fd uintptr, b []byte) (n int, err error) {
	for {
		if n, err = call(int(fd), b); !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}

// Close closes the connection in this process.
func (p *Conn) Close() error {
	p.mu.Lock()
	if p.fd < 0 {
		p.mu.Unlock()
		return net.ErrClosed
	}
	err := syscall.Close(p.fd)
	p.fd = -1
	if p.wait != nil {
		err = errors.Join(err, p.wait.Close())
	}
	p.mu.Unlock()
	if p.in != nil {
		err = errors.Join(err, p.in.Close()) // which waits for a Read, and that for the lock
	}
	return err
}

// shut ends the connection in both processes, which interrupts reads and writes.
func (p *Conn) shut() {
	_ = p.raw().Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RDWR) }) // fails if the server has ended it already
}

// SetDeadline implements net.Conn.
func (p *Conn) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn. The deadline ends only reads that wait.
func (p *Conn) SetReadDeadline(t time.Time) error {
	if p.in != nil {
		return p.in.SetReadDeadline(t)
	}
	return p.deadline(&p.read, t, (*os.File).SetReadDeadline)
}

// SetWriteDeadline implements net.Conn. The deadline ends only writes that wait.
func (p *Conn) SetWriteDeadline(t time.Time) error {
	return p.deadline(&p.write, t, (*os.File).SetWriteDeadline)
}

func (p *Conn) deadline(at *time.Time, t time.Time, set func(*os.File, time.Time) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if *at = t; p.wait != nil {
		return set(p.wait, t)
	}
	return nil
}

// LocalAddr implements net.Conn. No caller needs the address.
func (p *Conn) LocalAddr() net.Addr { return (*net.UnixAddr)(nil) }

// RemoteAddr implements net.Conn. No caller needs the address.
func (p *Conn) RemoteAddr() net.Addr { return (*net.UnixAddr)(nil) }
