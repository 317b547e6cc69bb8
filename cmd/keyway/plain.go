//go:build linux && !embed_node_amd64 && !embed_node_arm64

package main

import (
	"context"
	"os"
	"path/filepath"

	"keyway/internal/guest"
	"keyway/internal/keyway"
	"keyway/internal/noded"
)

// A plain go build of keyway carries no other program, so it is the others
// itself: the node, which the link runs as "keyway node", and the guest, by its
// name. A release carries both and contains neither.

// plainNode returns the program that the link runs as the local node: this one.
func plainNode(self string) string { return self }

// asAnother acts as the node or the guest, if this program was started as one. In that case ok is
// true.
func asAnother(ctx context.Context, args []string) (code int, ok bool) {
	self, err := os.Executable()
	switch {
	case err != nil:
		return 0, false
	case filepath.Base(self) == keyway.GuestProgram:
		return guest.Main(args), true
	case len(args) > 1 && args[1] == "node":
		return report(os.Stderr, nil, noded.Run(ctx, args[1:], self)), true
	}
	return 0, false
}
