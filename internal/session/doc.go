// Package session holds the nouns of sessions, jobs and terminals that outlive every
// connection: the registry with its records, the claim of a name, and the processes
// that belong to a session.
//
// There is no master. The registry is a directory (Home.Sessions) with one
// directory a session:
//
//	meta.json     what runs, since when, for whom
//	lock          locked by the holder as long as it lives
//	sock          the holder's socket
//	N.log         what the job printed from offset N on, in order
//	N.index       which stretches of it came when, and from stdout or stderr
//	exit.json     how the job ended; on disk before anyone is told
//	on-exit.json  how the command that --on-exit names ended
//	holder.err    what the holder itself had to say, should it crash
//
// A session whose lock is held runs; one with exit.json has ended; one with
// neither lost its holder. docs/PROTOCOL.session.md has the formats.
//
// The packages below this one are the processes of a session and what they share:
// wire (frames between them), joblog (the log), lines (the lines that are left of
// an output), option (command lines), holder (the process that owns the job), view
// (the process that owns the user's terminal) and words (the keyway command inside a
// workspace). All but option build on Linux only.
package session
