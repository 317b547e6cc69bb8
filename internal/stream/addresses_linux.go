package stream

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// The kernel's multicast groups for links and addresses.
const addressGroups = 1<<(syscall.RTNLGRP_LINK-1) | 1<<(syscall.RTNLGRP_IPV4_IFADDR-1) | 1<<(syscall.RTNLGRP_IPV6_IFADDR-1)

// watchAddresses calls changed when the kernel says that something about the
// interfaces is different, until ctx ends. The message is not parsed: the
// addresses are read anew.
func watchAddresses(ctx context.Context, changed func()) {
	f, err := openNetlink()
	if err != nil {
		pollAddresses(ctx, changed) // a sandbox without netlink
		return
	}
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	defer f.Close()
	var scrap [8 << 10]byte
	for {
		// ENOBUFS says that there was more than fits: all the more has changed.
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
	// A descriptor that does not block is read by the runtime's poller, so that
	// closing the file ends a read.
	return os.NewFile(uintptr(fd), "netlink"), nil
}

func isOverrun(err error) bool { return errors.Is(err, syscall.ENOBUFS) }
