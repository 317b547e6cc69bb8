package main

import (
	"errors"
	"io"
	"os"
	"reflect"
	"sync"
	"syscall"

	"keyway/internal/keyway"
	"keyway/internal/plain"
)

// printedAll returns the result of a command that ended with err. lost is the first failed write
// of its output, if any. A command whose output is incomplete has failed, even if it ignored the
// errors of fmt.Fprintln.
func printedAll(err, lost error) error {
	if lost == nil || err != nil && !errors.Is(err, lost) {
		return err
	}
	return notWritten(lost)
}

// notWritten returns the error of a command whose output could not be written.
func notWritten(err error) *keyway.Error {
	kind := keyway.Other
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		kind = keyway.NoSpace
	}
	return keyway.Errorf(kind, "the output cannot be written: %w", err)
}

// storing writes to a file and keeps the first error. Only a writer inside this process can do
// so: an ssh that writes to the file does not report the error.
type storing struct {
	to   io.Writer
	info os.FileInfo
	mu   sync.Mutex // guards err
	err  error
}

// Write implements io.Writer.
func (s *storing) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.to.Write(p)
	if s.err == nil {
		s.err = err
	}
	return n, err
}

// outputs holds a command's writers of type storing. The zero value is ready to use.
type outputs []*storing

// of returns the writer to use in place of f: a storing, if f is a file or a device that stores
// output. Two streams that lead to the same file share one, so that their order is kept. Pipes
// and terminals are returned as they are, because a write to them may block forever.
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

// lost returns the first error of any write.
func (o outputs) lost() error {
	for _, s := range o {
		if s.err != nil {
			return s.err
		}
	}
	return nil
}

// printJSON prints a command's --json output on one line. docs/JSON.md describes the form of
// each. An empty list is printed as [], never as null.
func printJSON(w io.Writer, v any) error {
	own := reflect.New(reflect.TypeOf(v)).Elem()
	own.Set(reflect.ValueOf(v))
	fillLists(own)
	return plain.JSON(w, own.Interface())
}

// fillLists replaces the nil lists in v by empty ones.
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
