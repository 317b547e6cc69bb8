//go:build unix

package main

import (
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// passDescriptor sends conn's descriptor over the unix socket to, with the one byte that ssh's
// receiver expects beside it. ssh then owns the connection, and no process of keyway's copies
// bytes.
func passDescriptor(to *os.File, conn *net.UnixConn) error {
	f, err := conn.File()
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.Sendmsg(int(to.Fd()), []byte{0}, unix.UnixRights(int(f.Fd())), nil, 0)
	if err != nil {
		return keyway.Errorf(keyway.Other, "ssh did not take the connection: %w", err)
	}
	return nil
}

// isOpenSSH reports whether OpenSSH's ssh has started this process. ssh accepts that its proxy
// command ends while the pipes stay open. Other clients take the end of the process for the end
// of the connection; Node.js, for one, then closes its pipes.
func isOpenSSH() bool { return parentName() == "ssh" }

// givesPipes reports whether in and out are pipes, whose ends the link can take over.
func givesPipes(in, out *os.File) bool { return isPipe(in) && isPipe(out) }

func isPipe(f *os.File) bool {
	var s unix.Stat_t
	return unix.Fstat(int(f.Fd()), &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFIFO
}

// speakTime bounds the time for a client that is not called ssh to send its first byte. After it,
// the client is assumed to wait for a descriptor. A client that wants bytes sends its
// identification line as soon as it has the socket.
const speakTime = time.Second

// wantsDescriptor reports whether the client waits for a descriptor: ssh's ProxyUseFdpass, which
// a user may have set, and which entries of earlier versions have. OpenSSH's ssh then gives its
// proxy command one unix socket as standard input and output, and sends nothing. Pipes, or a
// socket for each direction, mean another client. libssh also gives one socket, but sends its
// identification line at once.
func wantsDescriptor(in, out *os.File) bool {
	var i, o unix.Stat_t
	if unix.Fstat(int(in.Fd()), &i) != nil || unix.Fstat(int(out.Fd()), &o) != nil {
		return false
	}
	if o.Mode&unix.S_IFMT != unix.S_IFSOCK || i.Dev != o.Dev || i.Ino != o.Ino || !isUnixSocket(out) {
		return false
	}
	var timeout time.Duration
	if !isOpenSSH() {
		timeout = speakTime
	}
	return !speaks(in, timeout)
}

func isUnixSocket(f *os.File) bool {
	address, err := unix.Getsockname(int(f.Fd()))
	if err != nil {
		return false
	}
	_, ok := address.(*unix.SockaddrUnix)
	return ok
}

// speaks reports whether a byte or the end of the input arrives from f within timeout.
func speaks(f *os.File, timeout time.Duration) bool {
	end := time.Now().Add(timeout)
	for {
		ready := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, int(max(0, time.Until(end)).Milliseconds()))
		if err != unix.EINTR {
			return err == nil && n > 0
		}
	}
}
