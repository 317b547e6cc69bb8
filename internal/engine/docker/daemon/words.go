package daemon

import (
	"context"
	"io"
	"strings"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"keyway/internal/bounded"
)

// Bounds on the part of a container's log that is shown.
const (
	lastLines = "20"
	maxWords  = 4 << 10
)

// LastWords returns the end of a container's output.
func (c *Client) LastWords(ctx context.Context, id string) string {
	logs, err := c.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: lastLines})
	if err != nil {
		return ""
	}
	defer logs.Close()
	out := bounded.Buffer{Max: maxWords}
	// A log that breaks off is still useful.
	_, _ = stdcopy.StdCopy(&out, &out, io.LimitReader(logs, 16*maxWords))
	return strings.TrimSpace(strings.ToValidUTF8(out.String(), "?"))
}
