package agent

import (
	"os"

	"golang.org/x/sys/unix"
)

// processName is the agent's name in ps and pgrep: a command that ends all processes called
// keyway should not lock the user out.
const processName = "keyway-agent"

// HardenProcess keeps other processes of the same user from reading the agent's
// memory: it can be neither traced nor dumped (prctl(2), PR_SET_DUMPABLE).
func HardenProcess() error {
	// Before it cannot be traced: then the file is root's (proc(5)).
	_ = os.WriteFile("/proc/self/comm", []byte(processName), 0)
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}
