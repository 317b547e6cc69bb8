// Package session holds the nouns of sessions, jobs and terminals that outlive every connection:
// the registry with its records, the claim of a name, and the processes that belong to a session.
//
// There is no central process. The registry is a directory (Home.Sessions) with one directory a
// session:
//
//	meta.json     the command, the start time and the owner
//	lock          locked by the holder while it lives
//	sock          the holder's socket
//	N.log         what the job printed from offset N on, in order
//	N.index       the time and the stream of each stretch of it
//	exit.json     how the job ended; on disk before anyone is told
//	on-exit.json  how the command of --on-exit ended
//	holder.err    the holder's standard error, for crashes
//
// A session whose lock is held runs. One with exit.json has ended. One with neither has lost its
// holder. docs/PROTOCOL.session.md has the formats.
//
// The packages below this one are the processes of a session and the parts that they share: wire
// (frames between them), joblog (the log), lines (the lines that an output leaves on a terminal),
// option (command lines), holder (the process that owns the job), view (the process that owns the
// user's terminal) and words (the keyway command inside a workspace). All but option build on Linux
// only.
package session
