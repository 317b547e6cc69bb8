package agentd

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"

	"keyway/internal/unixsock"
)

var (
	endSignals   = []os.Signal{os.Interrupt}
	forgetSignal os.Signal
)

// detachedProcess is DETACHED_PROCESS of CreateProcess: without a console.
const detachedProcess = 0x00000008

func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: detachedProcess} }

// systemPipe is the pipe at which Windows' own OpenSSH expects its agent.
const systemPipe = `\\.\pipe\openssh-ssh-agent`

const pipePrefix = `\\.\pipe\`

// listenLocally listens at a named pipe of this user's alone, or at a socket.
func listenLocally(path string) (net.Listener, error) {
	if !strings.HasPrefix(path, pipePrefix) {
		return unixsock.Listen(path, 0o600)
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, err
	}
	return winio.ListenPipe(path, &winio.PipeConfig{SecurityDescriptor: pipeAccess(user.User.Sid.String())})
}

// pipeAccess returns an access list, in SDDL, that admits only the user.
func pipeAccess(sid string) string { return "D:P(A;;GA;;;" + sid + ")" }

func newSocketPath() (string, error) { return systemPipe, nil }

// open listens again: Windows does not pass listeners on.
func (s *socketSet) open() error {
	for _, p := range s.paths() {
		l, err := listenLocally(p)
		if err != nil {
			return err
		}
		s.listeners = append(s.listeners, l)
	}
	return nil
}

// files returns none: the listeners are closed, and the other process opens them again.
func (s *socketSet) files() ([]*os.File, error) {
	for _, l := range s.listeners {
		l.Close()
	}
	return nil, nil
}
