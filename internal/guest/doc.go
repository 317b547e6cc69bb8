// Package guest is the program inside a workspace. It needs nothing from the image: no root, shell,
// package, network or writable root file system. Begin with Main, which chooses the command, and
// with Server.
//
// Two processes run while a workspace lives:
//
//	init    the first process: keeps serve running, reaps, ends the workspace
//	serve   the SSH server on Home.Socket and the agent on Home.AgentSocket
//
// The other commands of the program are short: dial relays standard input and output to
// serve, info prints the guest's description of itself, sweep empties a Home, scp is the
// old copy protocol for images without scp, and keyway is the command line for sessions in
// the workspace.
//
// serve authenticates by Home.AuthorizedKeys and then acts as the workspace's own user: an
// authenticated client may do whatever that user may. The limits protect memory and the guest. They
// do not protect the user's own programs from that user.
package guest
