package sshconfig

import (
	"context"
	"path/filepath"
	"strings"
)

// AccountHome returns the home directory in which the user's ssh reads .ssh, as ssh itself reports
// it: that of the account, whatever HOME is. It is empty if ssh does not report it. It returns an
// error if this user cannot run ssh.
func AccountHome(ctx context.Context) (string, error) {
	out, err := resolver{options: []string{"-F", "none", "-o", "ControlPath=%d/.ssh"}}.run(ctx, "host")
	for line := range strings.Lines(out) {
		path, is := strings.CutPrefix(strings.TrimSpace(line), "controlpath ")
		if home, file := filepath.Split(path); is && file == ".ssh" && filepath.IsAbs(home) {
			return filepath.Clean(home), nil
		}
	}
	return "", err
}
