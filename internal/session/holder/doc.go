// Package holder is the process that owns a session: the terminal or pipes of its job, the log and
// the exit record. It serves viewers on a unix socket, and can be replaced by a newer program
// without the job noticing.
//
// Hold is the process, a part of the guest program. Start starts one.
package holder
