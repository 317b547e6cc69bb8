//go:build unix

package link

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/unixsock"
)

// hopsAreApart reports whether the ssh of a jump host can be distinguished from that of the place.
const hopsAreApart = true

// hopTimeout bounds the exchange of greetings with the link.
const hopTimeout = 5 * time.Second

// Hop executes ssh, if this process was started in its place for a host on the route. It then
// returns only on failure. args are the program's, including its name. Without the link's help, it
// runs ssh unchanged.
func Hop(args []string) (code int, ok bool) {
	dir, ssh := os.Getenv(hopDirEnv), os.Getenv(hopSSHEnv)
	if dir == "" || ssh == "" || len(args) == 0 || filepath.Base(args[0]) != hopProgram {
		return 0, false
	}
	env, own := os.Environ(), args[1:]
	if host := destination(own); host != "" {
		if w, err := announce(filepath.Join(dir, hopSocket), host); err == nil {
			own = slices.Concat([]string{"-E", w.Log}, w.Options, talkative(own))
			env = withEnv(env, hopNameEnv+"="+host)
		}
	}
	// Under keyway's name, by which it starts the ssh of the next jump host.
	err := unix.Exec(ssh, append([]string{filepath.Join(dir, hopProgram)}, own...), env)
	_, _ = io.WriteString(os.Stderr, "keyway: "+ssh+": "+err.Error()+"\n")
	return 255, true
}

// announce makes standard error a connection to the link, which then knows the host of the messages
// on it.
func announce(socket, host string) (w hopWelcome, err error) {
	conn, err := unixsock.Dial(socket)
	if err != nil {
		return w, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(hopTimeout))
	if _, err := conn.Write(encodeLine(hopHello{host})); err != nil {
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
