package node

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"time"

	"keyway/internal/engine"
)

// unusedFor is how long a program of another version stays at a place after its
// last use: a laptop with that version may come back and need not send it again.
const unusedFor = 30 * 24 * time.Hour

// Prune removes from the place the programs of other versions that nothing has
// used for unusedFor: guests below root that no workspace in homes runs with,
// and nodes beside program, the executable of this one, if they were put there
// by a link. It marks those in use here, guest and program, as used now. The next
// node tries again to remove what this one could not.
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

// prune removes what is in dir, not wanted and old.
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

// isSentProgram reports whether a file is a node's program that a link's bootstrap
// put there: keyway-HASH, or .keyway-HASH.PID if it was killed in the middle.
func isSentProgram(name string) bool {
	hash, ok := strings.CutPrefix(strings.TrimPrefix(name, "."), "keyway-")
	hash, _, _ = strings.Cut(hash, ".")
	sum, err := hex.DecodeString(hash)
	return ok && err == nil && len(sum) == 32
}
