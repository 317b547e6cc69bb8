//go:build linux

package session

import (
	"errors"
	"keyway/internal/keyway"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Renew has the holders of a workspace's living sessions become the program, if
// they run another one. It returns when they have, or say why not.
func Renew(home keyway.Home, program string) error {
	list, err := openRegistry(home).list()
	if err != nil {
		return err
	}
	failed := make([]error, len(list))
	var all sync.WaitGroup
	for n, i := range list {
		if i.Status == running && !runs(i.Holder, program) {
			all.Go(func() { failed[n] = renewHolder(i.path, program) })
		}
	}
	all.Wait()
	return errors.Join(failed...)
}

// runs says whether a process runs the program that is at the path now.
func runs(pid int, program string) bool {
	a, errA := os.Stat(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	b, errB := os.Stat(program)
	return errA == nil && errB == nil && os.SameFile(a, b)
}
