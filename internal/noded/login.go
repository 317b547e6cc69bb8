package noded

import (
	"os"

	"keyway/internal/account"
)

// completeLogin adds variables that a login sets and that the node was started without, for example
// by cron, a service or start files that remove them: workspaces of plain processes inherit them
// from the node.
func completeLogin() {
	var missing []string
	for _, name := range []string{"USER", "LOGNAME", "HOME", "SHELL"} {
		if os.Getenv(name) == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return
	}
	me, ok := account.Lookup(os.Getuid())
	if !ok {
		return
	}
	has := map[string]string{"USER": me.Name, "LOGNAME": me.Name, "HOME": me.Home, "SHELL": me.Shell}
	for _, name := range missing {
		if has[name] != "" {
			_ = os.Setenv(name, has[name]) // fails only for a name with '='
		}
	}
}
