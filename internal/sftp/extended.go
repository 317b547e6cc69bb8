//go:build linux

package sftp

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"

	"keyway/internal/sshwire"
)

// extensions are OpenSSH's (its PROTOCOL, section 4), in the order in which it
// announces them.
var extensions = []struct {
	name, version string
	do            handler
}{
	{"posix-rename@openssh.com", "1", onNames(unix.Rename)},
	{"statvfs@openssh.com", "2", onName((*session).statvfs)},
	{"fstatvfs@openssh.com", "2", onHandle((*session).fstatvfs)},
	{"hardlink@openssh.com", "1", onNames(unix.Link)},
	{"fsync@openssh.com", "1", onHandle((*session).fsync)},
	{"lsetstat@openssh.com", "1", withAttributes(lsetstat)},
	{"limits@openssh.com", "1", (*session).limits},
	{"expand-path@openssh.com", "1", onName((*session).expand)},
	{"copy-data", "1", (*session).copyData},
	{"home-directory", "1", onName((*session).homeDirectory)},
	{"users-groups-by-id@openssh.com", "1", (*session).namesByID},
}

// extended returns the handler of an extended request.
func extended(name string) handler {
	for _, e := range extensions {
		if e.name == name {
			return e.do
		}
	}
	return func(*session, *fields) (byte, error) { return 0, statusUnsupported }
}

func (s *session) statvfs(name string) (byte, error) {
	var st unix.Statfs_t
	_, err := uninterrupted(func() (int, error) { return 0, unix.Statfs(name, &st) })
	return s.appendVFS(&st, err)
}

func (s *session) fstatvfs(h *handle) (byte, error) {
	var st unix.Statfs_t
	if _, ok := fileOf(h); !ok {
		return 0, statusFailure
	}
	_, err := uninterrupted(func() (int, error) { return 0, unix.Fstatfs(h.fd, &st) })
	return s.appendVFS(&st, err)
}

// vfsFlags are those flags of a file system that the extension has. Their numbers
// are Linux's.
const vfsFlags = unix.ST_RDONLY | unix.ST_NOSUID

func (s *session) appendVFS(st *unix.Statfs_t, err error) (byte, error) {
	if err != nil {
		return 0, err
	}
	fragment := st.Frsize
	if fragment == 0 {
		fragment = st.Bsize
	}
	id := uint64(uint32(st.Fsid.Val[0])) | uint64(uint32(st.Fsid.Val[1]))<<32
	for _, v := range []uint64{
		uint64(st.Bsize), uint64(fragment), st.Blocks, st.Bfree, st.Bavail, st.Files, st.Ffree, st.Ffree, id,
		uint64(st.Flags) & vfsFlags, uint64(st.Namelen),
	} {
		s.out = binary.BigEndian.AppendUint64(s.out, v)
	}
	return fxpExtendedReply, nil
}

func (s *session) fsync(h *handle) (byte, error) {
	if _, ok := fileOf(h); !ok {
		return 0, statusNoSuchFile
	}
	_, err := uninterrupted(func() (int, error) { return 0, unix.Fsync(h.fd) })
	return fxpStatus, err
}

func (s *session) limits(f *fields) (byte, error) {
	for _, v := range []uint64{maxMessage, maxData, maxData, maxHandles} {
		s.out = binary.BigEndian.AppendUint64(s.out, v)
	}
	return fxpExtendedReply, f.err()
}

// expand is realpath with ~ expanded as in a shell.
func (s *session) expand(name string) (byte, error) {
	path, err := s.tilde(name)
	if err != nil {
		return 0, err
	}
	if path != "" && path[0] != '/' {
		dir, err := unix.Getwd()
		if err != nil {
			return 0, err
		}
		path = dir + "/" + path
	}
	return s.realpath(path)
}

// tilde returns name with a home in place of the ~ or ~user that it begins with.
func (s *session) tilde(name string) (string, error) {
	rest, ok := strings.CutPrefix(name, "~")
	if !ok {
		return name, nil
	}
	user, path, more := strings.Cut(rest, "/")
	if user == "" && !more {
		return s.cfg.Home, nil
	}
	home, known := s.cfg.Home, true
	if user != "" {
		home, known = s.people().homes[user]
	}
	if !known {
		return "", statusNoSuchFile
	}
	return home + "/" + path, nil
}

// copyChunk is the number of bytes that copy-data moves at once.
const copyChunk = 64 << 10

// copyData copies a part of one open file into another, or all of the rest for a length of zero.
// Unlike sftp-server, it reports an error if the last piece could not be written.
func (s *session) copyData(f *fields) (byte, error) {
	from, fromOK := fileOf(s.handles.find(f.String()))
	offset, length := f.Uint64(), f.Uint64()
	to, toOK := fileOf(s.handles.find(f.String()))
	at := f.Uint64()
	if err := f.err(); err != nil {
		return 0, err
	}
	if !fromOK || !toOK || from.name == to.name {
		return 0, statusFailure
	}
	if err := seek(from, offset); err != nil {
		return 0, err
	}
	if !to.appends {
		if err := seek(to, at); err != nil {
			return 0, err
		}
	}
	return fxpStatus, s.copy(from, to, length)
}

// copy copies length bytes from where the files stand, or all for a length of
// zero. A source that ends within the last chunk is no error, as with sftp-server.
func (s *session) copy(from, to *handle, length uint64) error {
	buf := make([]byte, copyChunk)
	all := length == 0
	for left := length; all || left > 0; {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		chunk := buf
		if !all {
			chunk = buf[:min(left, copyChunk)]
			left -= uint64(len(chunk))
		}
		n, err := readFull(from, chunk)
		switch {
		case err != nil:
			return err
		case n == 0 && (all || left == 0):
			return nil
		case n == 0:
			return statusEOF
		}
		if err := writeAll(to, chunk[:n]); err != nil {
			return err
		}
	}
	return nil
}

// readFull reads until buf is full or h ends, which is no error.
func readFull(h *handle, buf []byte) (int, error) {
	done := 0
	for done < len(buf) {
		n, err := uninterrupted(func() (int, error) { return unix.Read(h.fd, buf[done:]) })
		if err != nil {
			return done, err
		}
		if n == 0 {
			break
		}
		done += n
	}
	return done, nil
}

func (s *session) homeDirectory(user string) (byte, error) {
	home, known := s.people().homes[user]
	if !known {
		return 0, statusFailure
	}
	s.out = appendName(s.out, home)
	return fxpName, nil
}

func (s *session) namesByID(f *fields) (byte, error) {
	uids, gids := f.String(), f.String()
	switch err := f.err(); {
	case err != nil:
		return 0, err
	case len(uids)%4 != 0 || len(gids)%4 != 0:
		return 0, violation("ids of which one is incomplete")
	}
	who := s.people()
	s.out = appendNames(s.out, uids, who.users)
	s.out = appendNames(s.out, gids, who.groups)
	return fxpExtendedReply, nil
}

// appendNames appends the names of ids, each a string, as one string.
func appendNames(b, ids []byte, names map[uint32]string) []byte {
	var list []byte
	for r := sshwire.NewReader(ids); r.More(); {
		list = sshwire.AppendString(list, names[r.Uint32()])
	}
	return sshwire.AppendString(b, list)
}
