package node

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"time"

	"keyway/internal/engine"
)

// unusedFor is the time that a program of another version stays at a place after its last use: a
// laptop with that version may come back and need not send it again.
const unusedFor = 30 * 24 * time.Hour

// Prune removes from the place the programs of other versions that were not used for unusedFor:
// guests below root that no workspace in homes runs with, and nodes beside program, the executable
// of this one, if a link has put them there. It marks the guest and the program in use here as used
// now. Files that cannot be removed are left to the next node.
func Prune(root string, homes engine.Homes, guest engine.Guest, program string, now time.Time) {
	mine := filepath.Base(guest.Dir)
	if used, err := homes.Guests(); err == nil {
		prune(filepath.Join(root, "guests"), now, func(name string) bool { return !used[name] && name != mine })
	}
	_ = os.Chtimes(guest.Dir, now, now)
	if self := filepath.Base(program); isSentProgram(self) {
		prune(filepath.Dir(program), now, func(name string) bool { return isSentProgram(name) && name != self })
		_ = os.Chtimes(program, now, now)
	}
}

// prune removes files in dir that are unwanted and old.
func prune(dir string, now time.Time, unwanted func(name string) bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if st, err := e.Info(); err == nil && unwanted(e.Name()) && now.Sub(st.ModTime()) > unusedFor {
			_ = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}

// isSentProgram reports whether a file is a node's program that a link's bootstrap put there:
// keyway-HASH, or .keyway-HASH.PID after a kill.
func isSentProgram(name string) bool {
	hash, ok := strings.CutPrefix(strings.TrimPrefix(name, "."), "keyway-")
	hash, _, _ = strings.Cut(hash, ".")
	sum, err := hex.DecodeString(hash)
	return ok && err == nil && len(sum) == 32
}
