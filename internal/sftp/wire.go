//go:build linux

package sftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"keyway/internal/sshwire"
)

// Bounds on messages, which OpenSSH's client asks for by limits@openssh.com.
const (
	maxMessage = 256 << 10         // without its length
	maxData    = maxMessage - 1024 // of one READ or WRITE
	maxPath    = unix.PathMax      // with the NUL at its end, as the kernel counts
)

// Messages (draft-ietf-secsh-filexfer-02, section 3).
const (
	fxpInit          = 1
	fxpVersion       = 2
	fxpOpen          = 3
	fxpClose         = 4
	fxpRead          = 5
	fxpWrite         = 6
	fxpLstat         = 7
	fxpFstat         = 8
	fxpSetstat       = 9
	fxpFsetstat      = 10
	fxpOpendir       = 11
	fxpReaddir       = 12
	fxpRemove        = 13
	fxpMkdir         = 14
	fxpRmdir         = 15
	fxpRealpath      = 16
	fxpStat          = 17
	fxpRename        = 18
	fxpReadlink      = 19
	fxpSymlink       = 20
	fxpStatus        = 101
	fxpHandle        = 102
	fxpData          = 103
	fxpName          = 104
	fxpAttrs         = 105
	fxpExtended      = 200
	fxpExtendedReply = 201
)

// protocolVersion is the version that is spoken.
const protocolVersion = 3

// status is the code of a STATUS message (section 7 of the draft).
type status uint32

const (
	statusOK status = iota
	statusEOF
	statusNoSuchFile
	statusPermissionDenied
	statusFailure
	statusBadMessage
	statusNoConnection
	statusConnectionLost
	statusUnsupported
)

var statusTexts = [...]string{
	"Success", "End of file", "No such file", "Permission denied", "Failure", "Bad message", "No connection",
	"Connection lost", "Operation unsupported",
}

func (s status) Error() string { return statusTexts[s] }

// statusOf returns the status that a client gets for err.
func statusOf(err error) status {
	var s status
	var errno unix.Errno
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &s):
		return s
	case !errors.As(err, &errno):
		return statusFailure
	}
	switch errno {
	case unix.ENOENT, unix.ENOTDIR, unix.EBADF, unix.ELOOP:
		return statusNoSuchFile
	case unix.EPERM, unix.EACCES, unix.EFAULT:
		return statusPermissionDenied
	case unix.ENAMETOOLONG, unix.EINVAL:
		return statusBadMessage
	case unix.ENOSYS:
		return statusUnsupported
	}
	return statusFailure
}

// ProtocolError reports an invalid message. The client that sends one has lost its place in the
// stream: nothing it says after that means anything.
type ProtocolError struct{ Reason string }

func (e *ProtocolError) Error() string { return "not SFTP: " + e.Reason }

func violation(format string, args ...any) error {
	return &ProtocolError{fmt.Sprintf(format, args...)}
}

// fields reads the fields of one message. After an error every field is zero;
// err is looked at once all are read, before anything is done.
type fields struct {
	*sshwire.Reader
	nul bool // in a name, where there is none
}

func (f *fields) err() error {
	if f.nul {
		return violation("a name with a NUL byte in it")
	}
	if err := f.Err(); err != nil {
		return violation("%v", err)
	}
	return nil
}

// name reads a path or another name. One NUL at its end is a terminator that
// some clients send.
func (f *fields) name() string {
	b := bytes.TrimSuffix(f.String(), []byte{0})
	f.nul = f.nul || bytes.IndexByte(b, 0) >= 0
	return string(b)
}

// Flags of attributes (section 5 of the draft).
const (
	attrSize        = 1 << 0
	attrOwner       = 1 << 1
	attrPermissions = 1 << 2
	attrTimes       = 1 << 3
	attrExtended    = 1 << 31
)

// attributes are those of a file; flags says which are there.
type attributes struct {
	flags        uint32
	size         uint64
	uid, gid     uint32
	mode         uint32 // as st_mode
	atime, mtime uint32 // seconds since 1970
}

func (f *fields) attributes() attributes {
	a := attributes{flags: f.Uint32()}
	if a.flags&attrSize != 0 {
		a.size = f.Uint64()
	}
	if a.flags&attrOwner != 0 {
		a.uid, a.gid = f.Uint32(), f.Uint32()
	}
	if a.flags&attrPermissions != 0 {
		a.mode = f.Uint32()
	}
	if a.flags&attrTimes != 0 {
		a.atime, a.mtime = f.Uint32(), f.Uint32()
	}
	if a.flags&attrExtended != 0 {
		for n := f.Uint32(); n > 0 && f.Err() == nil; n-- {
			f.name() // none is defined
			f.String()
		}
	}
	return a
}

// permissions returns the mode that a asks for, or fallback.
func (a attributes) permissions(fallback uint32) uint32 {
	if a.flags&attrPermissions == 0 {
		return fallback
	}
	return a.mode & 0o7777
}

// appendStat appends st as attributes.
func appendStat(b []byte, st *unix.Stat_t) []byte {
	b = sshwire.AppendUint32(b, attrSize|attrOwner|attrPermissions|attrTimes)
	b = binary.BigEndian.AppendUint64(b, uint64(st.Size))
	for _, v := range []uint32{st.Uid, st.Gid, st.Mode, uint32(st.Atim.Sec), uint32(st.Mtim.Sec)} {
		b = sshwire.AppendUint32(b, v)
	}
	return b
}

// appendName appends the answer of those requests that give one name and nothing
// about it.
func appendName(b []byte, name string) []byte {
	b = sshwire.AppendUint32(b, 1)
	b = sshwire.AppendString(b, name)
	b = sshwire.AppendString(b, name)
	return sshwire.AppendUint32(b, 0)
}
