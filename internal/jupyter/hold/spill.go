//go:build unix

package hold

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"keyway/internal/jupyter/wire"
)

// maxSpill bounds the bytes of a spill: a message, which a server may send in many frames.
const maxSpill = 2 * wire.MaxMessage

// spill holds the bytes read of a large message: in an unnamed file and, from the point where
// that cannot be written (a full disk), in memory.
type spill struct{ file, memory *os.File }

// newSpill makes an empty spill in dir.
func newSpill(dir string) (spill, error) {
	memory, err := inMemory()
	if err != nil {
		return spill{}, err
	}
	file, err := os.CreateTemp(dir, "spill*.new")
	if err == nil {
		_ = os.Remove(file.Name()) // if that fails, it is removed with the journals
	} else if file, err = inMemory(); err != nil {
		return spill{}, errors.Join(err, memory.Close())
	}
	return spill{file, memory}, nil
}

func (s spill) close() error { return errors.Join(s.file.Close(), s.memory.Close()) }

func (s spill) clear() error { return errors.Join(s.file.Truncate(0), s.memory.Truncate(0)) }

// extent is the size of a spill, in bytes.
type extent struct {
	Spilled int64 `json:"spilled"` // in all
	Filed   int64 `json:"filed"`   // those in the file
}

func (x extent) append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, uint64(x.Spilled)), uint64(x.Filed))
}

// appending writes to the end of a spill.
type appending struct {
	spill
	*extent
}

// Write implements io.Writer.
func (a appending) Write(p []byte) (n int, err error) {
	if a.Spilled+int64(len(p)) > maxSpill {
		return 0, fmt.Errorf("a message of more than %d bytes", maxSpill)
	}
	if a.Filed == a.Spilled {
		n, _ = a.file.WriteAt(p, a.Filed) // the rest goes to memory
		a.Filed, a.Spilled = a.Filed+int64(n), a.Spilled+int64(n)
	}
	if n == len(p) {
		return n, nil
	}
	m, err := a.memory.WriteAt(p[n:], a.Spilled-a.Filed)
	a.Spilled += int64(m)
	return n + m, err
}

// readAt reads from a spill of extent x.
func (s spill) readAt(x extent, p []byte, at int64) (int, error) {
	switch {
	case at < x.Filed:
		return s.file.ReadAt(p[:min(int64(len(p)), x.Filed-at)], at)
	case at < x.Spilled:
		return s.memory.ReadAt(p[:min(int64(len(p)), x.Spilled-at)], at-x.Filed)
	}
	return 0, io.EOF
}
