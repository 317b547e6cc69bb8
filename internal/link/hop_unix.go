//go:build unix

package link

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/unixsock"
)

// hopsAreApart reports whether the ssh of a jump host can be distinguished from that of the place.
const hopsAreApart = true

// hopTimeout bounds the exchange of greetings with the link.
const hopTimeout = 5 * time.Second

// Hop executes ssh, or the user's shell, if this process was started in its place on the route to a
// host. It then returns only on failure. args are the program's, including its name. Without the
// link's help, it runs ssh unchanged.
func Hop(args []string) (code int, ok bool) {
	dir, ssh := os.Getenv(hopDirEnv), os.Getenv(hopSSHEnv)
	if dir == "" || ssh == "" || len(args) == 0 {
		return 0, false
	}
	hop, shell := filepath.Join(dir, hopProgram), os.Getenv(hopShellEnv)
	switch {
	case filepath.Base(args[0]) == hopProgram:
		env, own := os.Environ(), args[1:]
		if host, with, ok := hopLine(own); ok {
			if w, err := announce(filepath.Join(dir, hopSocket), hopHello{host, ssh}); err == nil {
				own = with(append([]string{"-E", w.Log}, w.Options...)...)
				env = withEnv(env, hopNameEnv+"="+host)
			}
		}
		if shell != "" {
			env = withEnv(env, "SHELL="+filepath.Join(dir, hopShell))
		}
		// Under keyway's name, by which it starts the ssh of the next jump host.
		return become(ssh, append([]string{hop}, own...), env)
	case shell != "" && args[0] == filepath.Join(dir, hopShell):
		env, own := withEnv(os.Environ(), "SHELL="+shell), args[1:]
		if len(own) == 2 {
			if from, to, ok := byPath(own[1], hop); ok {
				env = withEnv(env, hopSSHEnv+"="+own[1][from:to])
				own = []string{own[0], own[1][:from] + hop + own[1][to:]}
			}
		}
		return become(shell, append([]string{shell}, own...), env)
	}
	return 0, false
}

func become(program string, args, env []string) (code int, ok bool) {
	err := unix.Exec(program, args, env)
	_, _ = io.WriteString(os.Stderr, "keyway: "+program+": "+err.Error()+"\n")
	return 255, true
}

// announce makes standard error a connection to the link, which then knows the host of the messages
// on it.
func announce(socket string, hello hopHello) (w hopWelcome, err error) {
	conn, err := unixsock.Dial(socket)
	if err != nil {
		return w, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(hopTimeout))
	if _, err := conn.Write(encodeLine(hello)); err != nil {
		return w, err
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxHopMessage)).ReadSlice('\n')
	if err != nil {
		return w, err
	}
	if err := json.Unmarshal(line, &w); err != nil {
		return w, err
	}
	file, err := conn.File() // blocking, as programs expect
	if err != nil {
		return w, err
	}
	defer file.Close()
	return w, dup2(int(file.Fd()), 2)
}
