package main

import (
	"errors"
	"io"
	"os"
	"reflect"
	"syscall"

	"keyway/internal/keyway"
	"keyway/internal/plain"
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
	to   io.Writer
	info os.FileInfo
	err  error
}

// Write implements io.Writer.
func (s *storing) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	if s.err == nil {
		s.err = err
	}
	return n, err
}

// outputs are the storings of a command. The zero value has none.
type outputs []*storing

// of returns what is to be written to in place of f: a storing if f is a file or device in
// which output is stored, one for both streams if they lead to the same, so that their
// order is kept. A program that writes to a pipe or a terminal is given it as it is,
// because a write to those may take forever.
func (o *outputs) of(f *os.File) io.Writer {
	info, err := f.Stat()
	if err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0 || isTerminal(f) {
		return f
	}
	for _, s := range *o {
		if os.SameFile(s.info, info) {
			return s
		}
	}
	s := &storing{to: f, info: info}
	*o = append(*o, s)
	return s
}

// lost returns the first error of a write, of any of them.
func (o outputs) lost() error {
	for _, s := range o {
		if s.err != nil {
			return s.err
		}
	}
	return nil
}

// printJSON prints what a command with --json prints, in a line. docs/JSON.md has the form of
// each. A list without elements is [], never null.
func printJSON(w io.Writer, v any) error {
	own := reflect.New(reflect.TypeOf(v)).Elem()
	own.Set(reflect.ValueOf(v))
	fillLists(own)
	return plain.JSON(w, own.Interface())
}

// fillLists makes empty lists of those in v that are not there.
func fillLists(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fillLists(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() || f.Anonymous {
				fillLists(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.IsNil() && v.CanSet() && v.Type().Elem().Kind() != reflect.Uint8 { // bytes are text
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i := range v.Len() {
			fillLists(v.Index(i))
		}
	}
}
