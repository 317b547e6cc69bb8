// Package daemon is the connection to a Docker daemon, or to Podman through its
// Docker-compatible socket: where the daemon is, who it is, what it may do, what it
// says when it refuses, and the processes that it runs in containers.
package daemon
