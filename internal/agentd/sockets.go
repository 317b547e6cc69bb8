package agentd

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"keyway/internal/keyway"
)

// socketSet are an agent's sockets: the first for this machine, the second, if there is one,
// for forwarding.
type socketSet struct {
	path, forward string
	ended         func() // removes the record of the agent; nil: there is none
	kept          bool   // another program removes the files
	listeners     []net.Listener
}

func (s *socketSet) paths() []string {
	if s.forward == "" {
		return []string{s.path}
	}
	return []string{s.path, s.forward}
}

// listen listens at path, or at a new one in a directory of its own as
// ssh-agent does.
func listen(path, forward string) (*socketSet, error) {
	s := &socketSet{path: path, forward: forward}
	if path == "" {
		var err error
		if s.path, err = newSocketPath(); err != nil {
			return nil, keyway.Errorf(keyway.Other, "there is no directory for the socket: %w", err)
		}
	}
	for _, p := range s.paths() {
		l, err := listenLocally(p)
		if err != nil {
			s.remove()
			return nil, keyway.Errorf(keyway.Other, "the agent cannot listen at %s: %w", p, err)
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

// socketDirectory is the pattern for the directories that listen makes.
const socketDirectory = "ssh-keyway-*"

// remove removes the sockets' files, and the directory that was made for them.
func (s *socketSet) remove() {
	for _, l := range s.listeners {
		l.Close()
	}
	if s.ended != nil {
		defer s.ended()
	}
	if s.kept {
		return
	}
	for _, p := range s.paths() {
		os.Remove(p)
	}
	dir := filepath.Dir(s.path)
	if strings.HasPrefix(filepath.Base(dir), strings.TrimSuffix(socketDirectory, "*")) {
		os.Remove(dir) // only if it is empty
	}
}

// handTo starts cmd, which inherits the sockets and outlives the terminal.
func (s *socketSet) handTo(cmd *exec.Cmd) (*os.Process, error) {
	cmd.Dir = string(filepath.Separator)
	detach(cmd)
	var err error
	if cmd.ExtraFiles, err = s.files(); err != nil {
		return nil, err
	}
	defer closeAll(cmd.ExtraFiles)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return cmd.Process, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// inherited makes listeners of descriptors, from the first one on, that another
// process has opened.
func (s *socketSet) inherited(first uintptr, paths []string) error {
	for i, path := range paths {
		f := os.NewFile(first+uintptr(i), path)
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("descriptor %d: %w", first+uintptr(i), err)
		}
		s.listeners = append(s.listeners, l)
	}
	return nil
}

// activated returns the sockets on which systemd listens for this process (sd_listen_fds(3)), or
// nil. The first is for this machine, the second for forwarding.
func activated() (*socketSet, error) {
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	for _, v := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(v) // not for those that the agent starts
	}
	if n < 1 || n > 2 {
		return nil, keyway.Errorf(keyway.BadConfig, "there are %d sockets to listen at, not one and perhaps a second for forwarding", n)
	}
	s := &socketSet{kept: true}
	if err := s.inherited(firstInherited, make([]string, n)); err != nil {
		return nil, keyway.Errorf(keyway.BadConfig, "the socket cannot be used: %w", err)
	}
	s.path = s.listeners[0].Addr().String()
	if n == 2 {
		s.forward = s.listeners[1].Addr().String()
	}
	return s, nil
}
