package noded

import (
	"os"

	"keyway/internal/account"
)

// completeLogin gives the node what a login has and the node was started without, as from
// cron, a service or start files that take it away: workspaces of plain processes have it
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
			_ = os.Setenv(name, has[name]) // a name without '='
		}
	}
}
