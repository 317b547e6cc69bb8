// Package agent is an SSH agent (RFC 9987 with OpenSSH's extensions) that knows
// where every signature goes. Each accepted connection is a value of its own: it
// records which hosts have proven themselves on it, reads what is to be signed,
// and turns both into facts. A policy decides, the user may be asked, and the
// audit log gets a line, before a key is used.
//
// The package opens no network connection. docs/PROTOCOL.agent.md has the byte
// tables and the duties; docs/THREATS.md the attacks that they are for.
package agent
