//go:build unix

package agentd

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"keyway/internal/unixsock"
)

// endSignals end an agent; forgetSignal makes it forget its keys, as ssh-agent's.
var (
	endSignals             = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
	forgetSignal os.Signal = syscall.SIGUSR1
)

// detach makes cmd outlive the terminal.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// listenLocally listens at the path of a socket.
func listenLocally(path string) (net.Listener, error) { return unixsock.Listen(path, 0o600) }

// newSocketPath returns a path in a new directory.
func newSocketPath() (string, error) {
	dir, err := os.MkdirTemp("", socketDirectory)
	return filepath.Join(dir, fmt.Sprintf("agent.%d", os.Getpid())), err
}

// open takes over the sockets that our starter has opened.
func (s *socketSet) open() error { return s.inherited(firstInherited, s.paths()) }

// files returns the listeners' descriptors, for another process.
func (s *socketSet) files() ([]*os.File, error) {
	var files []*os.File
	for _, l := range s.listeners {
		f, err := l.(*net.UnixListener).File()
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}
