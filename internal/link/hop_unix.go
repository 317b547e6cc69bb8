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

// hopsAreApart says that the ssh of a jump host can be told from that of the place.
const hopsAreApart = true

// hopTimeout bounds the greeting with the link.
const hopTimeout = 5 * time.Second

// Hop becomes ssh, if this process was started in its place for a host on the way;
// then it does not return unless that fails. args are the program's, with its
// name. Without the link's help the ssh is what it would have been.
func Hop(args []string) (code int, ok bool) {
	dir, ssh := os.Getenv(hopDirEnv), os.Getenv(hopSSHEnv)
	if dir == "" || ssh == "" || len(args) == 0 || filepath.Base(args[0]) != hopProgram {
		return 0, false
	}
	env, own := os.Environ(), args[1:]
	if host := destination(own); host != "" {
		if w, err := announce(filepath.Join(dir, hopSocket), host); err == nil {
			own = slices.Concat([]string{"-E", w.Log}, w.Options, own)
			env = withEnv(env, hopNameEnv+"="+host)
		}
	}
	// Under our own name, by which it starts the ssh of the next jump host.
	err := unix.Exec(ssh, append([]string{filepath.Join(dir, hopProgram)}, own...), env)
	_, _ = io.WriteString(os.Stderr, "keyway: "+ssh+": "+err.Error()+"\n")
	return 255, true
}

// announce makes standard error a connection to the link, which then knows whose
// words come over it.
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
	file, err := conn.File() // blocking, as programs expect it
	if err != nil {
		return w, err
	}
	defer file.Close()
	return w, dup2(int(file.Fd()), 2)
}
