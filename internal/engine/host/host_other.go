//go:build !linux

package host

import (
	"context"
	"net"
	"runtime"
	"time"

	"keyway/internal/keyway"
)

func probe() error {
	return keyway.Errorf(keyway.EngineAbsent, "the host engine needs Linux; this machine runs %s", runtime.GOOS).
		Advise(keyway.LinuxOrContainer)
}

// Create implements engine.Engine.
func (e *Engine) Create(context.Context, keyway.Spec, func(keyway.Progress)) (keyway.Workspace, error) {
	return keyway.Workspace{}, probe()
}

// List implements engine.Engine.
func (e *Engine) List(context.Context) ([]keyway.Workspace, error) { return nil, probe() }

// Stop implements engine.Engine.
func (e *Engine) Stop(context.Context, keyway.Name, time.Duration) error { return probe() }

// Start implements engine.Engine.
func (e *Engine) Start(context.Context, keyway.Name) error { return probe() }

// Remove implements engine.Engine.
func (e *Engine) Remove(context.Context, keyway.Name) error { return probe() }

// Dial implements engine.Engine.
func (e *Engine) Dial(context.Context, keyway.Name) (net.Conn, error) { return nil, probe() }
