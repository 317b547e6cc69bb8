//go:build !linux

package main

import (
	"context"
	"errors"
	"net"
	"os"

	"keyway/internal/agent"
)

// Only Linux has memory that can be sealed and passed on.
var renewSignal os.Signal

type heirloom struct {
	state []byte
	conns []net.Conn
}

func inherit() (*heirloom, error) { return nil, nil }

func (h *heirloom) sockets() (*agentSockets, error) { return nil, errors.ErrUnsupported }

func (s *agentSetup) renew(*agent.Agent, *agentSockets) error { return errors.ErrUnsupported }

func (s *agentSetup) renewOnSignal(context.Context, *agent.Agent, <-chan os.Signal) {}

func (s *agentSetup) notRenewed(error) {}
