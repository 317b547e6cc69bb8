package main

import (
	"errors"
	"io"
	"os"
	"syscall"

	"keyway/internal/keyway"
)

// printedAll returns the result of a command that ended with err and whose output could not
// be written because of lost. A command whose output is missing has failed, even if it ignored
// the errors of fmt.Fprintln.
func printedAll(err, lost error) error {
	if lost == nil || err != nil && !errors.Is(err, lost) {
		return err
	}
	return notWritten(lost)
}

// notWritten is the error of a command whose output could not be written.
func notWritten(err error) *keyway.Error {
	kind := keyway.Other
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		kind = keyway.NoSpace
	}
	return keyway.Errorf(kind, "the output cannot be written: %w", err)
}

// storing writes to a file and keeps the first error. An ssh that writes to the file itself
// does not report an error.
type storing struct {
	to  io.Writer
	err error
}

// Write implements io.Writer.
func (s *storing) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	if s.err == nil {
		s.err = err
	}
	return n, err
}

// storedIn returns a storing for f, or nil if f is none in which output is stored: a
// program that writes to a pipe or a terminal is given it as it is, because a write
// to those may take forever.
func storedIn(f *os.File) *storing {
	info, err := f.Stat()
	if err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0 || isTerminal(f) {
		return nil
	}
	return &storing{to: f}
}
