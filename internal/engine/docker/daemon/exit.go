package daemon

import (
	"errors"
	"fmt"

	"github.com/moby/moby/api/types/container"

	"keyway/internal/keyway"
)

// NoGuest is the reason for a container in which the guest did not come up. A node that was ended before it gave
// the guest its host key leaves one.
const NoGuest = "its guest did not come up"

// guestFailed is the exit code of a guest that does not come up.
var guestFailed = keyway.ExitCode(keyway.Errorf(keyway.GuestFailed, ""))

// ExitReason returns in a few words how a container ended. command reports whether it had a
// command of its own.
func ExitReason(st *container.State, command bool) string {
	switch {
	case st.Status == container.StateCreated && st.Error == "":
		return "was never started"
	case st.OOMKilled:
		return fmt.Sprintf("exited with %d: it ran out of memory", st.ExitCode)
	case st.Status == container.StateCreated:
		return "could not be started: " + Says(errors.New(st.Error))
	case st.ExitCode == 137:
		return "exited with 137: killed from outside or out of memory"
	case st.ExitCode == guestFailed && !command:
		return NoGuest
	case st.ExitCode == 143, st.ExitCode == 0 && !command:
		// Without a command, the guest only ends with 0 on request.
		return "was stopped"
	case command:
		return fmt.Sprintf("its command exited with %d", st.ExitCode)
	}
	return fmt.Sprintf("exited with %d", st.ExitCode)
}
