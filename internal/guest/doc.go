// Package guest is the program inside a workspace. It needs nothing from the
// image: no root, shell, package, network or writable root file system.
//
// Two processes run while a workspace lives:
//
//	init    the first process: keeps serve running, reaps, ends the workspace
//	serve   the SSH server on Home.Socket and the agent on Home.AgentSocket
//
// The rest are short commands of the same program: dial relays standard input
// and output to serve, info prints what serve says of itself, sweep empties a
// Home, scp is the old copy protocol for images without scp, and keyway is the
// workspace's end of sessions.
//
// serve authenticates by Home.AuthorizedKeys and then acts as the workspace's
// own user: whoever is in may do whatever that user may. What the limits below
// guard is memory and the guest itself, not the user from himself.
package guest
