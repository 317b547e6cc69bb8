package identity

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Bounds on a helper program.
const (
	maxHelperMessage = 256 << 10
	helperEndsWithin = 2 * time.Second // after its standard input was closed
)

// helperPaths are the directories in which the systems' OpenSSH packages install their helpers.
var helperPaths = []string{
	"/usr/lib/openssh", "/usr/libexec/openssh", "/usr/libexec", "/usr/lib/ssh", "/usr/local/libexec", "/opt/homebrew/libexec",
}

// findHelper returns the path of an OpenSSH helper program: the variable's value, as with
// ssh-agent, or the path where a package installs it.
func findHelper(name, variable string) (string, error) {
	if path := os.Getenv(variable); path != "" {
		return path, nil
	}
	for _, dir := range helperPaths {
		if path := dir + "/" + name; isProgram(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("OpenSSH's %s is not installed", name)
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// helper is one running helper program. It speaks in messages with a length
// before them, one answer for each request.
type helper struct {
	mu   sync.Mutex // one request at a time
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  io.Reader
	errs tailBuffer
	dead error
}

func startHelper(path string) (*helper, error) {
	h := &helper{cmd: exec.Command(path)}
	// A helper asks nothing and reads no terminal; its words go to the error.
	h.cmd.Stderr = &h.errs
	h.cmd.WaitDelay = helperEndsWithin
	var err error
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if h.out, err = h.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	return h, nil
}

// exchange sends one request and reads its answer. When ctx ends first, the
// helper is killed: a touch that is no longer wanted must not sign later.
func (h *helper) exchange(ctx context.Context, request []byte) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead != nil {
		return nil, h.dead
	}
	stop := context.AfterFunc(ctx, func() { h.cmd.Process.Kill() })
	answer, err := h.roundTrip(request)
	stop()
	if err != nil {
		h.dead = fmt.Errorf("%s: %w: %s", h.cmd.Path, err, h.errs.String())
		if ctx.Err() != nil {
			h.dead = ctx.Err()
		}
		return nil, h.dead
	}
	return answer, nil
}

func (h *helper) roundTrip(request []byte) ([]byte, error) {
	framed := append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...)
	defer clear(framed)
	if _, err := h.in.Write(framed); err != nil {
		return nil, err
	}
	var length [4]byte
	if _, err := io.ReadFull(h.out, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > maxHelperMessage {
		return nil, errors.New("it answers with a message of a wrong length")
	}
	answer := make([]byte, n)
	_, err := io.ReadFull(h.out, answer)
	return answer, err
}

// close ends the helper and waits for it.
func (h *helper) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead == nil {
		h.dead = errForgotten
	}
	h.in.Close()
	late := time.AfterFunc(helperEndsWithin, func() { h.cmd.Process.Kill() })
	h.cmd.Wait()
	late.Stop()
}

// tailBuffer keeps the end of its input.
type tailBuffer struct {
	mu   sync.Mutex
	text []byte
}

const maxTail = 1 << 10

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	if extra := len(b.text) - maxTail; extra > 0 {
		b.text = append(b.text[:0], b.text[extra:]...)
	}
	return len(p), nil
}

func (b *tailBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimSpace(string(b.text))
}
