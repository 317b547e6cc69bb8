// Package docker runs workspaces as containers of a Docker daemon, or of Podman
// through its Docker-compatible socket.
//
// A workspace is one container, named keyway-OWNER-NAME, with all that List
// needs in its labels. The guest is its first process. Usually its Home is a
// directory at the place that is mounted into the container (the mode "bind"),
// and the guest's socket is dialled there. Where the daemon does not see the
// place's files, because it runs on another machine, in a virtual machine or in
// another mount namespace, the Home is an anonymous volume, the guest is copied
// into it, and every connection is the standard input and output of a process
// that the daemon runs in the container (the mode "exec").
//
// Nothing is published and no network is changed. A workspace is not restarted
// by itself: after a reboot of the place it is listed as stopped, because what
// ran in it is gone, and a GPU that nobody uses should not be held by it.
package docker
