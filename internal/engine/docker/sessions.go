package docker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"path"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// sessions counts the living sessions of a workspace; -1 if that cannot be told. Where
// their directory is another user's or not here, the workspace is asked.
func (e *Engine) sessions(ctx context.Context, m made, state keyway.State) int {
	if state == keyway.Stopped {
		return 0 // nothing outlives the container
	}
	data := m.rec.Data
	if m.isOld() {
		data = string(m.home)
	}
	if n := engine.Sessions(data); n >= 0 || state != keyway.Running {
		return n
	}
	ctx, cancel := context.WithTimeout(ctx, engine.Answer)
	defer cancel()
	conn, err := e.client.Exec(ctx, m.id, path.Join(keyway.GuestHome.Bin(), "keyway"), "ls", "--json")
	if err != nil {
		return -1
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	n, err := countSessions(io.LimitReader(conn, maxSessionList))
	if err != nil {
		return -1
	}
	return n
}

// maxSessionList bounds, in bytes, what a workspace may say of its sessions.
const maxSessionList = 4 << 20

// countSessions counts those in the answer to keyway ls --json that have not ended. The
// workspace can say what it likes, of any length.
func countSessions(r io.Reader) (int, error) {
	list := json.NewDecoder(r)
	if begin, _ := list.Token(); begin != json.Delim('[') {
		return 0, errors.New("it is no list")
	}
	living := 0
	for list.More() {
		var s struct{ State string }
		if err := list.Decode(&s); err != nil {
			return 0, err
		}
		if s.State == "running" || s.State == "starting" {
			living++
		}
	}
	_, err := list.Token()
	return living, err
}
