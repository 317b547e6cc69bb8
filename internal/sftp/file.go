//go:build linux

package sftp

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"keyway/internal/sshwire"
)

// Flags of an OPEN (section 6.3 of the draft).
const (
	openRead = 1 << iota
	openWrite
	openAppend
	openCreate
	openTruncate
	openExclusive
)

// openFlags returns the flags of open(2) for those of an OPEN. A FIFO or an unused terminal
// would block the client, and this process, for ever: hence O_NONBLOCK, which regular files
// ignore.
func openFlags(wire uint32) int {
	flags := unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	switch wire & (openRead | openWrite) {
	case openRead | openWrite:
		flags |= unix.O_RDWR
	case openWrite:
		flags |= unix.O_WRONLY
	}
	for _, f := range []struct {
		wire uint32
		flag int
	}{{openAppend, unix.O_APPEND}, {openCreate, unix.O_CREAT}, {openTruncate, unix.O_TRUNC}, {openExclusive, unix.O_EXCL}} {
		if wire&f.wire != 0 {
			flags |= f.flag
		}
	}
	return flags
}

func (s *session) open(f *fields) (byte, error) {
	name, wire, a := f.name(), f.Uint32(), f.attributes()
	if err := f.err(); err != nil {
		return 0, err
	}
	if s.keys != "" && name == s.keys && wire&openWrite != 0 && s.cfg.CopyID != nil {
		s.keys = "" // a client that repeats the request may
		s.cfg.CopyID()
		return 0, unix.EACCES
	}
	h := &handle{name: name, appends: wire&openAppend != 0}
	return s.opened(h, openFlags(wire), a.permissions(0o666))
}

// opened opens h.name and answers with its handle.
func (s *session) opened(h *handle, flags int, mode uint32) (kind byte, err error) {
	if s.handles.full() {
		return 0, unix.EMFILE
	}
	h.fd, err = uninterrupted(func() (int, error) { return unix.Open(h.name, flags, mode) })
	if err != nil {
		return 0, err
	}
	s.out = sshwire.AppendString(s.out, s.handles.add(h))
	return fxpHandle, nil
}

// uninterrupted makes a system call again that a signal has interrupted. Most are
// restarted by the kernel, but not on every file system.
func uninterrupted(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func seek(h *handle, offset uint64) error {
	_, err := unix.Seek(h.fd, int64(offset), unix.SEEK_SET)
	return err
}

func (s *session) read(f *fields) (byte, error) {
	h, ok := fileOf(s.handles.find(f.String()))
	offset, size := f.Uint64(), min(f.Uint32(), maxData)
	if err := f.err(); err != nil {
		return 0, err
	}
	if !ok {
		return 0, statusFailure
	}
	if err := seek(h, offset); err != nil {
		return 0, err
	}
	// Straight to where it is sent from, behind its length.
	start := len(s.out) + 4
	s.out = slices.Grow(s.out, 4+int(size))[:start]
	data := s.out[start : start+int(size)]
	n, err := uninterrupted(func() (int, error) { return unix.Read(h.fd, data) })
	switch {
	case size == 0:
		n = 0
	case err != nil:
		return 0, err
	case n == 0:
		return 0, statusEOF
	}
	binary.BigEndian.PutUint32(s.out[start-4:], uint32(n))
	s.out = s.out[:start+n]
	return fxpData, nil
}

func (s *session) write(f *fields) (byte, error) {
	h, ok := fileOf(s.handles.find(f.String()))
	offset, data := f.Uint64(), f.String()
	if err := f.err(); err != nil {
		return 0, err
	}
	if !ok {
		return 0, statusFailure
	}
	if !h.appends {
		if err := seek(h, offset); err != nil {
			return 0, err
		}
	}
	return fxpStatus, writeAll(h, data)
}

// writeAll writes data in one piece, so that what two append does not mingle.
func writeAll(h *handle, data []byte) error {
	n, err := uninterrupted(func() (int, error) { return unix.Write(h.fd, data) })
	if err == nil && n < len(data) {
		err = statusFailure
	}
	return err
}

func (s *session) fstat(h *handle) (byte, error) {
	var st unix.Stat_t
	if _, ok := fileOf(h); !ok {
		return 0, statusFailure
	}
	if err := unix.Fstat(h.fd, &st); err != nil {
		return 0, err
	}
	s.out = appendStat(s.out, &st)
	return fxpAttrs, nil
}

func (s *session) fsetstat(f *fields) (byte, error) {
	h, ok := fileOf(s.handles.find(f.String()))
	a := f.attributes()
	if err := f.err(); err != nil {
		return 0, err
	}
	if !ok {
		return 0, statusFailure
	}
	return fxpStatus, a.set(setters{
		size:  func(size int64) error { return unix.Ftruncate(h.fd, size) },
		mode:  func(mode uint32) error { return unix.Fchmod(h.fd, mode) },
		times: func(ts []unix.Timespec) error { return futimens(h.fd, ts) },
		owner: func(uid, gid int) error { return unix.Fchown(h.fd, uid, gid) },
	})
}

// setters change one attribute each.
type setters struct {
	size  func(size int64) error
	mode  func(mode uint32) error
	times func(ts []unix.Timespec) error
	owner func(uid, gid int) error
}

// set changes the attributes that a has. All is tried; the last error is returned.
func (a attributes) set(to setters) (err error) {
	try := func(flag uint32, change func() error) {
		if a.flags&flag == 0 {
			return
		}
		if e := change(); e != nil {
			err = e
		}
	}
	try(attrSize, func() error { return to.size(int64(a.size)) })
	try(attrPermissions, func() error { return to.mode(a.mode & 0o7777) })
	try(attrTimes, func() error {
		return to.times([]unix.Timespec{unix.NsecToTimespec(int64(a.atime) * 1e9), unix.NsecToTimespec(int64(a.mtime) * 1e9)})
	})
	try(attrOwner, func() error { return to.owner(int(int32(a.uid)), int(int32(a.gid))) })
	return err
}

// futimens is futimens(3): the way of unix.Futimes needs /proc.
func futimens(fd int, ts []unix.Timespec) error {
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts[0])), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// setstat also remembers what ssh-copy-id -s does before it puts its file of keys there.
func (s *session) setstat(f *fields) (byte, error) {
	name, a := f.name(), f.attributes()
	if err := f.err(); err != nil {
		return 0, err
	}
	s.keys = ""
	if a.flags == attrPermissions && strings.HasSuffix(name, "/.ssh") {
		s.keys = name + "/authorized_keys"
	}
	return fxpStatus, setstat(name, a)
}
