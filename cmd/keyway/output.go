package main

import (
	"errors"
	"io"
	"os"
	"syscall"

	"keyway/internal/keyway"
)

// printedAll returns what became of a command that ended with err and whose output
// could not be written because of lost. A command whose output is missing has not
// done what it was asked to do, even if it looked at no error of fmt.Fprintln.
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

// storing writes to a file and keeps the first error. An ssh that is
// given the file itself meets the error alone, and does not report it.
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
