// Package words is the keyway command inside a workspace: run, attach, logs, wait, ls,
// send, kill and rm, as a part of the guest program.
package words
