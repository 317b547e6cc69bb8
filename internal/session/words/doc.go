// Package words is the keyway command inside a workspace: run, attach, logs, wait, ls, send, kill
// and rm. It is a part of the guest program. Begin with CLI.
package words
