// Package mux serves OpenSSH's multiplexing protocol (PROTOCOL.mux) to the user's
// own ssh: it holds one SSH connection to each workspace, with session channels
// opened ahead, and gives an ssh a session on it. Each session is decided by the
// agent, as a login is. A client that is refused, or wants what the protocol cannot
// say, connects by itself as if there were no mux.
package mux
