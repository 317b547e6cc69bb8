// Package docker runs workspaces as containers of a Docker daemon, or of Podman through its
// Docker-compatible socket.
//
// A workspace is one container, named keyway-OWNER-NAME. Its labels hold everything that List
// needs. The guest is its first process. Usually its Home is a directory at the place that is
// mounted into the container, and the node dials the guest's socket there (the mode "bind"). The
// daemon may not see the place's files, because it runs on another machine, in a virtual machine or
// in another mount namespace. Then the Home is an anonymous volume, the guest is copied into it,
// and every connection is the standard input and output of a process that the daemon runs in the
// container (the mode "exec").
//
// Nothing is published and no network is changed. A workspace does not restart by itself. After a
// reboot of the place it is listed as stopped: its programs are gone, and it should not hold an
// unused GPU.
package docker
