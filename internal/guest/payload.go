//go:build linux

package guest

import "golang.org/x/crypto/ssh"

// The types below mirror the payloads on the wire, in the order of the fields. The size of
// a payload is bounded by that of an SSH packet, 256 KiB.

// RFC 4254, section 6.2.
type ptyRequest struct {
	Term                    string
	Columns, Rows           uint32
	PixelWidth, PixelHeight uint32
	Modes                   string
}

// RFC 4254, section 6.7.
type windowChange struct {
	Columns, Rows           uint32
	PixelWidth, PixelHeight uint32
}

// RFC 4254, section 6.4.
type envRequest struct{ Name, Value string }

// RFC 4254, section 6.5: exec and subsystem.
type execRequest struct{ Command string }

// RFC 4254, section 6.9.
type signalRequest struct{ Name string }

// RFC 4254, section 6.10.
type exitStatus struct{ Status uint32 }

// RFC 4254, section 6.10.
type exitSignal struct {
	Name       string
	CoreDumped bool
	Message    string
	Language   string
}

// RFC 4254, section 7.2: direct-tcpip and forwarded-tcpip.
type tcpipChannel struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

// RFC 4254, section 7.1: tcpip-forward and cancel-tcpip-forward.
type tcpipForward struct {
	Host string
	Port uint32
}

// RFC 4254, section 7.1: the answer to a tcpip-forward with port 0.
type tcpipForwardReply struct{ Port uint32 }

// OpenSSH's PROTOCOL, section 2.4: direct-streamlocal@openssh.com.
type streamlocalChannel struct {
	Path      string
	Reserved  string
	Reserved2 uint32
}

// OpenSSH's PROTOCOL, section 2.4: forwarded-streamlocal@openssh.com.
type forwardedStreamlocal struct {
	Path     string
	Reserved string
}

// OpenSSH's PROTOCOL, section 2.4: streamlocal-forward@openssh.com and its cancel.
type streamlocalForward struct{ Path string }

// decode reads a payload. It fails if fields are missing or bytes follow.
func decode[T any](payload []byte) (T, error) {
	var msg T
	err := ssh.Unmarshal(payload, &msg)
	return msg, err
}
