//go:build linux

package guest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// scpSource is scp -f: it sends files.
type scpSource struct {
	*scpPeer
	options scpOptions
}

func (s *scpSource) run() error {
	if _, err := s.answer(); err != nil {
		return err
	}
	for _, path := range s.options.paths {
		if err := s.send(path, 0); err != nil {
			return err
		}
	}
	return nil
}

// send sends the file or directory at path. It follows links, as scp does.
func (s *scpSource) send(path string, depth int) error {
	if depth > maxSCPDepth {
		return s.complain(fmt.Errorf("%s: more than %d directories within each other", path, maxSCPDepth))
	}
	f, info, err := openForSending(path)
	if err != nil {
		return s.complain(err)
	}
	defer f.Close()
	name := filepath.Base(path)
	switch {
	case strings.Contains(name, "\n"):
		return s.complain(fmt.Errorf("%q: a line end in a name cannot be sent", path))
	case info.IsDir() && s.options.recursive:
		return s.directory(f, info, path, name, depth)
	case info.Mode().IsRegular():
		return s.file(f, info, name)
	}
	return s.complain(fmt.Errorf("%s: not a regular file", path))
}

// openForSending opens path. It does not wait for the other end of a named pipe.
func openForSending(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// tell sends a line and reads its answer.
func (s *scpSource) tell(format string, args ...any) (bool, error) {
	if _, err := fmt.Fprintf(s.out, format+"\n", args...); err != nil {
		return false, err
	}
	return s.answer()
}

// announce sends the times of an entry, if requested, then its mode, size and name.
func (s *scpSource) announce(kind string, info fs.FileInfo, size int64, name string) (bool, error) {
	if s.options.times {
		// The protocol has no times before 1970.
		m := max(info.ModTime().Unix(), 0)
		a := m
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			a = max(st.Atim.Sec, 0)
		}
		if ok, err := s.tell("T%d 0 %d 0", m, a); !ok {
			return false, err
		}
	}
	return s.tell("%s%04o %d %s", kind, chmodBits(info.Mode()), size, name)
}

func (s *scpSource) file(f *os.File, info fs.FileInfo, name string) error {
	if ok, err := s.announce("C", info, info.Size(), name); !ok {
		return err
	}
	problem, err := s.content(f, info.Size())
	if err != nil {
		return err
	}
	if problem != nil {
		err = s.complain(fmt.Errorf("%s: %w", name, problem))
	} else {
		err = s.ok()
	}
	if err != nil {
		return err
	}
	_, err = s.answer()
	return err
}

// content sends exactly size bytes, even if the file changes meanwhile. Missing bytes are
// replaced by zeros, and problem is reported after them.
func (s *scpSource) content(f io.Reader, size int64) (problem, err error) {
	b := buffers.Get()
	defer buffers.Put(b)
	buf := *b
	for size > 0 {
		chunk := buf[:min(size, copySize)]
		if problem == nil {
			var n int
			if n, problem = f.Read(chunk); n > 0 {
				problem = nil
				chunk = chunk[:n]
			}
			if errors.Is(problem, io.EOF) {
				problem = errors.New("the file became shorter while it was sent")
			}
		}
		if problem != nil {
			clear(chunk)
		}
		if _, err := s.out.Write(chunk); err != nil {
			return problem, err
		}
		size -= int64(len(chunk))
	}
	return problem, nil
}

func (s *scpSource) directory(f *os.File, info fs.FileInfo, path, name string, depth int) error {
	entries, readErr := f.ReadDir(-1)
	if readErr != nil {
		return s.complain(readErr)
	}
	if ok, err := s.announce("D", info, 0, name); !ok {
		return err
	}
	for _, entry := range entries {
		if err := s.send(filepath.Join(path, entry.Name()), depth+1); err != nil {
			return err
		}
	}
	_, err := s.tell("E")
	return err
}
