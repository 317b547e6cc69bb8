//go:build !linux

package node

import (
	"context"

	"keyway/internal/keyway"
)

// machine is where facts about a machine are found: a place is Linux.
type machine struct{ root, smi string }

func access(string) (readable, writable bool) { return true, true }

func hardLimits() map[string]int64 { return nil }

func (m machine) memory() int64 { return 0 }

func (m machine) driver(context.Context) keyway.DriverFacts { return keyway.DriverFacts{} }
