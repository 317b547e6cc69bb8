// Package wire is the protocol between a holder and its viewers: frames on a unix socket, the keys
// that they name, and the viewer's end of a connection. Begin with Hello and Connect.
// docs/PROTOCOL.session.md has the table of frames.
package wire
