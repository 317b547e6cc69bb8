package link

import (
	"context"
	"net/http"
	"os"
)

// endsProtocol is streamProtocol, but the bytes flow through the two descriptors that follow the
// answer, and the connection itself is closed. A link that does not know it answers with a
// VersionMismatch.
const endsProtocol = "keyway-stream-ends"

// Proxy is Stream, but the link takes over the two pipes between an ssh and its proxy command: it
// reads from in and writes to out itself for as long as the stream lives. So the proxy command can
// end, and no process copies the bytes. Proxy returns when the link has both.
//
// The link writes to news, if it is not nil, why there is no connection. If news is a terminal, it
// also shows there what becomes of the connection later.
func (c *Client) Proxy(ctx context.Context, to Guest, news, in, out *os.File) error {
	conn, err := c.upgrade(ctx, endsProtocol, to, passedNews{news, inItsPlace})
	if err != nil {
		return err
	}
	defer conn.Close()
	return passEnds(conn, in, out)
}

// wantsEnds reports whether r requests endsProtocol.
func wantsEnds(r *http.Request) bool { return r.Header.Get("Upgrade") == endsProtocol }
