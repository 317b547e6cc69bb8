package link

import (
	"context"
	"net/http"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// LocalInfo starts a node on this machine, without a link, and returns its description of this
// place. node and programs are those of Config.
func LocalInfo(ctx context.Context, node string, programs Programs) (api.Info, error) {
	s := starter{node: node, programs: programs, silence: maxSilence}
	p, err := s.start(ctx, keyway.Local, nil, func(keyway.Progress) {})
	if err != nil {
		return api.Info{}, err
	}
	defer p.stop()
	conn, err := api.Connect(ctx, p.conn, func(*http.ClientConn) {})
	if err != nil {
		return api.Info{}, err
	}
	defer conn.Close()
	return api.NewClient(conn, "http://node").Speaking(p.version).Info(ctx)
}
