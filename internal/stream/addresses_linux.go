package stream

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// The kernel's multicast groups for links and addresses.
const addressGroups = 1<<(syscall.RTNLGRP_LINK-1) | 1<<(syscall.RTNLGRP_IPV4_IFADDR-1) | 1<<(syscall.RTNLGRP_IPV6_IFADDR-1)

// watchAddresses calls changed when the kernel reports a change of the interfaces, until ctx ends.
// It does not parse the message: the addresses are read again.
func watchAddresses(ctx context.Context, changed func()) {
	f, err := openNetlink()
	if err != nil {
		pollAddresses(ctx, changed) // in a sandbox without netlink
		return
	}
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	defer f.Close()
	var scrap [8 << 10]byte
	for {
		// ENOBUFS means that messages were lost: then more has changed.
		if _, err := f.Read(scrap[:]); err != nil && !isOverrun(err) {
			return
		}
		changed()
	}
}

func openNetlink() (*os.File, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, syscall.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: addressGroups}); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	// The runtime's poller reads a non-blocking descriptor, so that closing the file interrupts a
	// read.
	return os.NewFile(uintptr(fd), "netlink"), nil
}

func isOverrun(err error) bool { return errors.Is(err, syscall.ENOBUFS) }
