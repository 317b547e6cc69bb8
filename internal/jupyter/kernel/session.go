package kernel

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/gorilla/websocket"

	"keyway/internal/keyway"
)

// After an interrupted handshake, for example by a kill while the kernel starts, a Jupyter server
// may keep the session's name in use. A later connection under that name may then wait for ever, or
// the kernel's answers go to the dead connection. So such a name is never used again. A name under
// which a connection was open is used again: the server keeps the kernel's messages for it.

// dial connects under the session's name that is stored on disk.
func (k *Kernel) dial(ctx context.Context) (*websocket.Conn, *http.Response, error) {
	if k.session == "" {
		k.session = k.readSession()
	}
	next := "keyway-" + k.ID + "-" + rand.Text()[:8]
	k.noteSession(next) // the next program uses it if the handshake is interrupted
	conn, resp, err := k.options.Dial(ctx, k.session)
	var op *net.OpError
	if err == nil || errors.As(err, &op) && op.Op == "dial" { // otherwise the server knows the name
		k.noteSession(k.session)
	} else {
		k.session = next
	}
	return conn, resp, err
}

func (k *Kernel) sessionPath() string { return filepath.Join(k.options.Dir, "session") }

func isSessionName(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
	rest, ours := strings.CutPrefix(name, "keyway-")
	return ours && rest != "" && len(rest) <= 64 && strings.Trim(rest, letters) == ""
}

func (k *Kernel) readSession() string {
	if data, err := os.ReadFile(k.sessionPath()); err == nil && isSessionName(string(data)) {
		return string(data)
	}
	return "keyway-" + k.ID + "-" + rand.Text()[:8] // differs from that of another workspace's program at the same server
}

// noteSession stores the session's name for the next program.
func (k *Kernel) noteSession(name string) {
	_ = keyway.WriteFile(k.sessionPath(), []byte(name), 0o600) // if that fails, the old name stays
}
