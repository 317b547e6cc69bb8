package agent

import "golang.org/x/sys/unix"

// HardenProcess keeps other processes of the same user from reading the agent's
// memory: it can be neither traced nor dumped (prctl(2), PR_SET_DUMPABLE).
func HardenProcess() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}
