// Package session runs jobs and terminals that outlive every connection: one
// holder process a session, which owns the job's terminal or pipes, writes its
// log and its exit record, and serves viewers on a unix socket.
//
// There is no master. The registry is a directory (Home.Sessions) with one
// directory a session:
//
//	meta.json   what runs, since when, for whom
//	lock        locked by the holder as long as it lives
//	sock        the holder's socket
//	N.log       what the job printed from offset N on, in order
//	N.index     which stretches of it came when, and from stdout or stderr
//	exit.json   how the job ended; on disk before anyone is told
//	holder.err  what the holder itself had to say, should it crash
//
// A session whose lock is held runs; one with exit.json has ended; one with
// neither lost its holder. docs/PROTOCOL.session.md has the formats.
//
// The package has two entry points: CLI is the keyway command inside a
// workspace, Hold is the holder. Both are parts of the guest program and build
// on Linux only.
package session
