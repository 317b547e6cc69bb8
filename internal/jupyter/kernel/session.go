package kernel

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"

	"github.com/gorilla/websocket"

	"keyway/internal/keyway"
)

// A Jupyter server may hold the name of a session after a handshake that was broken off,
// as by a kill while the kernel starts: whoever comes with it next waits for a connection
// that never ends, or the kernel answers that one. So such a name is never used again. One
// under which a connection was open is: the server keeps for it what the kernel says
// meanwhile.

// dial connects under the name of the session that is noted on disk.
func (k *Kernel) dial(ctx context.Context) (*websocket.Conn, *http.Response, error) {
	if k.session == "" {
		k.session = k.readSession()
	}
	next := "keyway-" + k.ID + "-" + rand.Text()[:8]
	k.noteSession(next) // unless the handshake is over
	conn, resp, err := k.options.Dial(ctx, k.session)
	var op *net.OpError
	if err == nil || errors.As(err, &op) && op.Op == "dial" { // else the server has the name
		k.noteSession(k.session)
	} else {
		k.session = next
	}
	return conn, resp, err
}

func (k *Kernel) sessionPath() string { return filepath.Join(k.options.Dir, "session") }

var sessionName = regexp.MustCompile(`^keyway-[0-9A-Za-z-]{1,64}$`)

func (k *Kernel) readSession() string {
	if data, err := os.ReadFile(k.sessionPath()); err == nil && sessionName.Match(data) {
		return string(data)
	}
	return "keyway-" + k.ID + "-" + rand.Text()[:8] // not that of another workspace's program at the same server
}

// noteSession writes down what the session is to be if this program is started again.
func (k *Kernel) noteSession(name string) {
	_ = keyway.WriteFile(k.sessionPath(), []byte(name), 0o600) // as before, else
}
