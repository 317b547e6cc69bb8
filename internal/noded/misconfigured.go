package noded

import (
	"context"
	"net"
	"time"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// misconfigured stands for an engine whose configuration cannot be read.
type misconfigured struct {
	name string
	why  error
}

var _ engine.Engine = misconfigured{}

func (m misconfigured) Name() string                { return m.name }
func (m misconfigured) Probe(context.Context) error { return m.why }
func (m misconfigured) List(context.Context) ([]keyway.Workspace, error) {
	return nil, m.why
}
func (m misconfigured) Create(context.Context, keyway.Spec, func(keyway.Progress)) (keyway.Workspace, error) {
	return keyway.Workspace{}, m.why
}
func (m misconfigured) Stop(context.Context, keyway.Name, time.Duration) error { return m.why }
func (m misconfigured) Start(context.Context, keyway.Name) error               { return m.why }
func (m misconfigured) Remove(context.Context, keyway.Name) error              { return m.why }
func (m misconfigured) Dial(context.Context, keyway.Name) (net.Conn, error) {
	return nil, m.why
}
