//go:build linux

package sftp

import (
	"errors"

	"golang.org/x/sys/unix"
)

// statWith returns a handler that answers with the result of stat for a name.
func statWith(stat func(string, *unix.Stat_t) error) func(*session, string) (byte, error) {
	return func(s *session, name string) (byte, error) {
		var st unix.Stat_t
		if err := stat(name, &st); err != nil {
			return 0, err
		}
		s.out = appendStat(s.out, &st)
		return fxpAttrs, nil
	}
}

func setstat(name string, a attributes) error {
	return a.set(setters{
		size:  func(size int64) error { return unix.Truncate(name, size) },
		mode:  func(mode uint32) error { return unix.Chmod(name, mode) },
		times: func(ts []unix.Timespec) error { return unix.UtimesNanoAt(unix.AT_FDCWD, name, ts, 0) },
		owner: func(uid, gid int) error { return unix.Chown(name, uid, gid) },
	})
}

// lsetstat is setstat of a link itself, which has no size to be set.
func lsetstat(name string, a attributes) error {
	if a.flags&attrSize != 0 {
		return statusBadMessage
	}
	return a.set(setters{
		mode: func(mode uint32) error { return lchmod(name, mode) },
		times: func(ts []unix.Timespec) error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, name, ts, unix.AT_SYMLINK_NOFOLLOW)
		},
		owner: func(uid, gid int) error { return unix.Lchown(name, uid, gid) },
	})
}

// lchmod changes the mode of a file that is no link: Linux has none for links.
func lchmod(name string, mode uint32) error {
	err := unix.Fchmodat(unix.AT_FDCWD, name, mode, unix.AT_SYMLINK_NOFOLLOW)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	// A link, or a kernel before 6.6, which cannot do it in one step.
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return unix.EOPNOTSUPP
	}
	return unix.Chmod(name, mode)
}

func mkdir(name string, a attributes) error {
	return unix.Mkdir(name, a.permissions(0o777))
}

// rename gives a file another name, unless that is taken: version 3 does not
// replace (posix-rename@openssh.com does).
func rename(from, to string) error {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		err := unix.Link(from, to)
		if err == nil {
			return unlinkOr(from, to)
		}
		if !cannotLink(err) {
			return err
		}
	}
	if unix.Stat(to, &st) == nil {
		return statusFailure
	}
	return unix.Rename(from, to)
}

// unlinkOr removes the old name of a file that has two, or else the new one.
func unlinkOr(from, to string) error {
	err := unix.Unlink(from)
	if err != nil {
		_ = unix.Unlink(to)
	}
	return err
}

// cannotLink reports whether a file system has no links, which err is about.
func cannotLink(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EPERM)
}

func (s *session) readlink(name string) (byte, error) {
	target, err := readlink(name)
	if err != nil {
		return 0, err
	}
	s.out = appendName(s.out, target)
	return fxpName, nil
}

func readlink(name string) (string, error) {
	var buf [maxPath - 1]byte
	n, err := unix.Readlink(name, buf[:])
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
