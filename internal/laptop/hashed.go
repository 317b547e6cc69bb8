package laptop

import (
	"fmt"

	"keyway/internal/hostnames"
	"keyway/internal/policy"
)

// HashedText returns a sentence about the number of hashed hosts in known_hosts and the
// consequences; empty if there are none.
func HashedText(rules *policy.Policy, names *hostnames.Names) string {
	hashed, unknown := names.Hashed()
	if hashed == 0 {
		return ""
	}
	text := fmt.Sprintf("%s in known_hosts hashed", isOrAre(hashed, "host"))
	if unknown == 0 {
		return text + ", and all of their names are known from ssh_config and the policy"
	}
	text += fmt.Sprintf("; of %d of them a name is not known", unknown)
	if rules.GoesByName() {
		text += ": you are asked where a rule that asks or denies by name may mean one of them"
	}
	return text
}

func isOrAre(n int, what string) string {
	if n == 1 {
		return Count(n, what) + " is"
	}
	return Count(n, what) + " are"
}
