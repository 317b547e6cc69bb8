// Package agent is an SSH agent (RFC 9987 with OpenSSH's extensions) that knows where every
// signature goes. Each accepted connection is a value of its own. It records which hosts have
// proved themselves on it, reads the data to be signed, and makes facts of both. A policy decides,
// the user may be asked, and a line is written to the audit log, before a key is used.
//
// The package opens no network connection. It does not hold private keys itself (package identity),
// does not decide (package policy), and is not a process (package agentd). Begin with Agent, and
// then with connection.handle, which reads the messages. docs/PROTOCOL.agent.md has the byte tables
// and the duties, and docs/THREATS.md the attacks against which they help.
package agent
