//go:build !linux

package agentd

import (
	"context"
	"errors"
	"net"
	"os"

	"keyway/internal/agent"
)

// Only Linux has memory that can be sealed and passed on.
var renewSignal os.Signal

// Renewed reports whether an agent of an older program has become this process.
func Renewed() bool { return false }

// HardenRenewed does nothing: agents are not renewed on this system.
func HardenRenewed() {}

type takenOver struct {
	state []byte
	conns []net.Conn
}

func inherit() (*takenOver, error) { return nil, nil }

func (t *takenOver) sockets() (*socketSet, error) { return nil, errors.ErrUnsupported }

func (s *setup) renew(*agent.Agent, *socketSet) error { return errors.ErrUnsupported }

func (s *setup) renewOnSignal(context.Context, *agent.Agent, <-chan os.Signal) {}

func (s *setup) notRenewed(error) {}
