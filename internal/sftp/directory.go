//go:build linux

package sftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/sshwire"
)

// maxEntries bounds the entries of a directory in one answer.
const maxEntries = 100

func (s *session) opendir(name string) (byte, error) {
	return s.opened(&handle{name: name, entries: &entries{}}, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
}

// readdir answers with the next entries, "." and ".." among them. sftp-server
// reads the attributes of each by the directory's name; this server reads them by
// the open directory, which may have been renamed since.
func (s *session) readdir(h *handle) (byte, error) {
	if h == nil || h.entries == nil {
		return 0, statusFailure
	}
	start, count := len(s.out), uint32(0)
	s.out = sshwire.AppendUint32(s.out, 0)
	who, now := s.people(), time.Now()
	for count < maxEntries {
		name, err := h.entries.next(h.fd)
		if err != nil && count == 0 {
			return 0, err
		}
		if err != nil {
			break // it comes again
		}
		var st unix.Stat_t
		if unix.Fstatat(h.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			continue // it has gone
		}
		s.out = sshwire.AppendString(s.out, name)
		s.out = sshwire.AppendString(s.out, longName(name, &st, who, now))
		s.out = appendStat(s.out, &st)
		count++
	}
	if count == 0 {
		return 0, statusEOF
	}
	binary.BigEndian.PutUint32(s.out[start:], count)
	return fxpName, nil
}

// entries reads a directory, in the order it has.
type entries struct{ buf, rest []byte }

// Where getdents64(2) puts an entry's size and name.
const (
	direntSize = 16
	direntName = 19
)

// next returns the name of the next entry, or statusEOF.
func (e *entries) next(fd int) (string, error) {
	if len(e.rest) == 0 {
		if e.buf == nil {
			e.buf = make([]byte, 32<<10)
		}
		n, err := uninterrupted(func() (int, error) { return unix.Getdents(fd, e.buf) })
		if errors.Is(err, unix.ENOENT) || err == nil && n == 0 { // ENOENT: the directory has been removed
			return "", statusEOF
		}
		if err != nil {
			return "", err
		}
		e.rest = e.buf[:n]
	}
	size := binary.NativeEndian.Uint16(e.rest[direntSize:])
	name, _, _ := bytes.Cut(e.rest[direntName:size], []byte{0})
	e.rest = e.rest[size:]
	return string(name), nil
}

// longName returns an entry in the form of ls -l, which is the only one that old clients show.
func longName(name string, st *unix.Stat_t, who *people, now time.Time) string {
	return fmt.Sprintf("%s %3d %-8s %-8s %8d %s %s", modeString(st.Mode), st.Nlink,
		nameOr(who.users, st.Uid), nameOr(who.groups, st.Gid), st.Size, timeString(time.Unix(st.Mtim.Unix()), now), name)
}

func nameOr(names map[uint32]string, id uint32) string {
	if name := names[id]; name != "" {
		return name
	}
	return strconv.FormatUint(uint64(id), 10)
}

// recent is for how long ls shows the time of day in place of the year.
const recent = 365 * 24 * time.Hour / 2

func timeString(at, now time.Time) string {
	form := "Jan _2  2006"
	if !at.After(now) && at.After(now.Add(-recent)) {
		form = "Jan _2 15:04"
	}
	text := at.Format(form)
	if len(text) > len(form) {
		return "" // a year of five digits
	}
	return text
}

// fileTypes are the letters that ls has for the types of files.
var fileTypes = map[uint32]byte{
	unix.S_IFDIR: 'd', unix.S_IFCHR: 'c', unix.S_IFBLK: 'b', unix.S_IFREG: '-', unix.S_IFLNK: 'l', unix.S_IFSOCK: 's',
	unix.S_IFIFO: 'p',
}

// modeString returns strmode(3), with the blank at its end that stands for no ACL.
func modeString(mode uint32) string {
	text := []byte("?rwxrwxrwx ")
	if t, ok := fileTypes[mode&unix.S_IFMT]; ok {
		text[0] = t
	}
	for bit := range 9 {
		if mode&(0o400>>bit) == 0 {
			text[1+bit] = '-'
		}
	}
	for _, special := range []struct {
		bit           uint32
		at            int
		with, without byte // x
	}{{unix.S_ISUID, 3, 's', 'S'}, {unix.S_ISGID, 6, 's', 'S'}, {unix.S_ISVTX, 9, 't', 'T'}} {
		switch {
		case mode&special.bit == 0:
		case text[special.at] == 'x':
			text[special.at] = special.with
		default:
			text[special.at] = special.without
		}
	}
	return string(text)
}
