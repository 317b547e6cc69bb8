// Package handover gives state and descriptors from one process to another: over a unix socket, or
// to the program that a process becomes by exec. Only the owner of the state knows its meaning and
// the version of its format. Begin with Bundle.
package handover

import "syscall"

// Bundle is the state and the descriptors that one process passes to another.
type Bundle struct {
	State       []byte
	Descriptors []int
}

// Add adds the descriptor of f, which is to stay open until the bundle is given, and whose
// mode does not change as it would by os.File.Fd.
func (b *Bundle) Add(f syscall.Conn) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { b.Descriptors = append(b.Descriptors, int(fd)) })
}
