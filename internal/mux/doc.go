// Package mux serves OpenSSH's multiplexing protocol (PROTOCOL.mux) to the user's own ssh. It holds
// one SSH connection to each workspace, with session channels that are opened ahead, and gives an
// ssh a session on it. The agent decides about each session as about a login. A client that is
// refused, or needs something that the protocol does not support, connects by itself as if there
// were no mux.
package mux
