// Package wire is what a holder and its viewers say to each other: frames on a unix
// socket, the keys that they name, and the viewer's end of such a connection.
// docs/PROTOCOL.session.md has the table of frames.
package wire
