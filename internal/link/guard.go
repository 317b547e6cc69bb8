package link

import (
	"encoding/binary"
	"io"
	"keyway/internal/keyway"
	"math"
	"net"
	"os"
	"os/exec"
	"sync"
)

// A killed link cannot report the end of its connections, and the user's ssh processes see no
// reason. So there is a guard: a process that holds the terminals and reports it instead. It is
// started with the first connection that has a terminal.
//
// The link sends it messages over a socket, its standard input: one byte, with the terminal's
// descriptor if the connection is new; then the connection's number in four bytes; for a new one
// also the name of the workspace, as in commands, after one byte with its length.
const (
	guardAdd  = '+'
	guardDrop = '-'
	guardBye  = '.' // the link ends in order
)

// guard is the link's side of the guard. A nil guard does nothing.
type guard struct {
	program string

	mu   sync.Mutex
	cmd  *exec.Cmd
	conn *net.UnixConn // nil: not started
	last uint32
}

// add makes the guard hold the terminal of a connection to a workspace until drop is called. A
// program notices by itself that the link was killed.
func (g *guard) add(s screen, workspace string) (drop func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := s.(*terminal); !ok || !movable || g.startLocked() != nil {
		return func() {}
	}
	g.last++
	id := binary.BigEndian.AppendUint32(nil, g.last)
	if sendScreen(g.conn, guardAdd, s) != nil {
		return func() {}
	}
	_, _ = g.conn.Write(id)
	workspace = workspace[:min(len(workspace), math.MaxUint8)]
	_, _ = g.conn.Write(append([]byte{byte(len(workspace))}, workspace...))
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		_, _ = g.conn.Write(append([]byte{guardDrop}, id...))
	}
}

func (g *guard) startLocked() error {
	if g.conn != nil {
		return nil
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	cmd := exec.Command(g.program, "link", "guard")
	cmd.Stdin = theirs
	detach(cmd)
	if err := cmd.Start(); err != nil {
		ours.Close()
		return err
	}
	g.cmd, g.conn = cmd, ours
	return nil
}

// stop ends the guard, which then prints nothing.
func (g *guard) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conn == nil {
		return
	}
	_, _ = g.conn.Write([]byte{guardBye})
	g.conn.Close()
	g.cmd.Wait()
}

// Guard is the guard's process. It returns when the link has ended. next is as in Config.
func Guard(in *os.File, next func(*keyway.Error) string) error {
	conn, err := fileConn(in)
	if err != nil {
		return err
	}
	defer conn.Close()
	held := map[uint32]guarded{}
	if guardUntil(conn, held) {
		return nil
	}
	for _, h := range held {
		killed := Killed(h.name)
		if h.screen != nil {
			h.screen.ended(killed.Message+"\n"+next(killed), true)
		}
	}
	return nil
}

// Killed returns the reason for which the connection to a workspace has ended with a link that was
// killed. The name is that of commands.
func Killed(workspace string) *keyway.Error {
	return keyway.Errorf(keyway.Unreachable, "the process that carried this connection (keyway link) was killed, and the connection to %s with it", workspace).
		Advise(keyway.JobsGoOn, workspace)
}

// guarded is a connection whose terminal the guard holds.
type guarded struct {
	screen screen
	name   string
}

// guardUntil maintains held until the link has ended, and reports whether it has ended in order.
func guardUntil(conn *net.UnixConn, held map[uint32]guarded) (orderly bool) {
	for {
		what, s, err := receiveScreen(conn)
		if err != nil || what == guardBye {
			return err == nil
		}
		var id [4]byte
		if _, err := io.ReadFull(conn, id[:]); err != nil {
			return false
		}
		n := binary.BigEndian.Uint32(id[:])
		if what == guardDrop {
			if h, ok := held[n]; ok && h.screen != nil {
				h.screen.close()
			}
			delete(held, n)
			continue
		}
		name, err := readName(conn)
		if err != nil {
			return false
		}
		held[n] = guarded{s, name}
	}
}

// readName reads a text after its length.
func readName(r io.Reader) (string, error) {
	var length [1]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return "", err
	}
	name := make([]byte, length[0])
	_, err := io.ReadFull(r, name)
	return string(name), err
}
