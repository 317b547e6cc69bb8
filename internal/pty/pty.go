//go:build linux

package pty

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Open opens a pseudo-terminal: master is the end of the program that shows it, slave
// that of the programs that run on it, whose Name is its path. The master does not block,
// so that Close and deadlines end a Read; the slave does, because the flag would be the
// programs' to suffer.
func Open() (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("/dev/ptmx: %w", err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		err = os.NewSyscallError("TIOCSPTLCK", err)
	} else {
		slave, err = Peer(fd)
	}
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, slave, nil
}

// Peer opens the slave of a master again.
func Peer(master int) (*os.File, error) {
	n, err := unix.IoctlGetUint32(master, unix.TIOCGPTN)
	if err != nil {
		return nil, os.NewSyscallError("TIOCGPTN", err)
	}
	name := "/dev/pts/" + strconv.FormatUint(uint64(n), 10)
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	// By descriptor where the kernel can (Linux 4.13): in a container with a /dev
	// of its own the path may lead into another file system.
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, flags)
	if errno == 0 {
		return os.NewFile(slave, name), nil
	}
	return os.OpenFile(name, flags, 0)
}
