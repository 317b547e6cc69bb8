package inside

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"path"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// Sessions asks the workspace for the number of its living sessions; -1 if it cannot be found out.
func (c Container) Sessions(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, engine.Answer)
	defer cancel()
	conn, err := c.Client.Exec(ctx, c.ID, path.Join(keyway.GuestHome.Bin(), "keyway"), "ls", "--json")
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

// maxSessionList bounds the bytes of a workspace's answer about its sessions.
const maxSessionList = 4 << 20

// countSessions counts the sessions in the answer to keyway ls --json that have not ended. The
// workspace can answer anything, of any length.
func countSessions(r io.Reader) (int, error) {
	list := json.NewDecoder(r)
	if begin, _ := list.Token(); begin != json.Delim('[') {
		return 0, errors.New("it is not a list")
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

// maxDevices bounds the lines of a guest's answer about its devices.
const maxDevices = 1024

// Devices returns the GPUs that the guest sees, as names in /dev. told reports whether the guest
// has answered.
func (c Container) Devices(ctx context.Context) (names []string, told bool, err error) {
	conn, leave, err := c.ask(ctx, "gpus")
	if err != nil {
		return nil, false, err
	}
	defer leave()
	lines := bufio.NewScanner(io.LimitReader(conn, 64<<10))
	for lines.Scan() && len(names) < maxDevices {
		switch word := lines.Text(); {
		case word == keyway.GPUsHeader:
			told = true
		case told:
			names = append(names, word)
		}
	}
	switch err := lines.Err(); {
	case ctx.Err() != nil:
		return nil, false, ctx.Err()
	case told && err != nil: // a guest that does not know the command says so by an error, too
		return nil, false, err
	}
	return names, told, nil
}
