// Package daemon is the connection to a Docker daemon, or to Podman through its Docker-compatible
// socket. It finds the daemon and identifies it, explains its errors, and runs processes in
// containers.
package daemon
