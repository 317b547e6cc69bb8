//go:build linux

package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// currentUmask returns the umask. To read it, one must set it.
func currentUmask() os.FileMode {
	mask := unix.Umask(0o022)
	unix.Umask(mask)
	return os.FileMode(mask)
}

// scpSink is scp -t: it receives files.
type scpSink struct {
	*scpPeer
	options scpOptions
	umask   os.FileMode
}

func (s *scpSink) run() error {
	target := s.options.paths[0]
	if s.options.directory && !isDir(target) {
		return errors.Join(s.complain(fmt.Errorf("%s: not a directory", target)), errors.New("no target"))
	}
	if err := s.ok(); err != nil {
		return err
	}
	return s.receive(target, 0)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// receive receives entries until the input ends or, in a directory, until an E.
func (s *scpSink) receive(target string, depth int) error {
	if depth > maxSCPDepth {
		return fmt.Errorf("more than %d directories within each other", maxSCPDepth)
	}
	var times *scpTimes
	for {
		c, err := s.in.ReadByte()
		if errors.Is(err, io.EOF) && depth == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the connection ended within a directory: %w", err)
		}
		if c == 1 || c == 2 {
			if err := s.complaint(c); err != nil {
				return err
			}
			continue
		}
		rest, err := s.line()
		if err != nil {
			return err
		}
		if c == 'E' && depth > 0 {
			return s.ok()
		}
		if times, err = s.message(string(c)+rest, target, times, depth); err != nil {
			return err
		}
	}
}

// message handles one line. times are those received for the next entry.
func (s *scpSink) message(line, target string, times *scpTimes, depth int) (*scpTimes, error) {
	switch line[0] {
	case 'T':
		t, err := parseSCPTimes(line)
		if err != nil {
			return nil, s.fatal(err)
		}
		return &t, s.ok()
	case 'C', 'D':
		entry, err := parseSCPEntry(line)
		if err != nil {
			return nil, s.fatal(err)
		}
		return nil, s.entry(entry, target, times, depth)
	}
	return nil, s.fatal(fmt.Errorf("unexpected message %q", line))
}

// fatal tells the other side why the transfer ends here.
func (s *scpSink) fatal(err error) error {
	_ = s.complain(err)
	return err
}

func (s *scpSink) entry(e scpEntry, target string, times *scpTimes, depth int) error {
	if isDir(target) {
		target = filepath.Join(target, e.name)
	}
	if !e.dir {
		return s.file(e, target, times)
	}
	if !s.options.recursive {
		return s.fatal(errors.New("a directory was sent without -r"))
	}
	return s.directory(e, target, times, depth)
}

func (s *scpSink) directory(e scpEntry, path string, times *scpTimes, depth int) error {
	// Its owner must be able to fill it, whatever its mode will be.
	err := os.Mkdir(path, e.mode.Perm()|0o700)
	made := err == nil
	if errors.Is(err, os.ErrExist) && isDir(path) {
		err = nil
	}
	if err != nil {
		// The source then skips the directory's content.
		return s.complain(err)
	}
	if err := s.ok(); err != nil {
		return err
	}
	if err := s.receive(path, depth+1); err != nil {
		return err
	}
	if problem := s.finish(path, e, times, made); problem != nil {
		fmt.Fprintf(s.news, "scp: %v\n", problem)
		s.failed = true
	}
	return nil
}

// file receives one file. If it cannot be written, the bytes are read all the same: they
// are on their way.
func (s *scpSink) file(e scpEntry, path string, times *scpTimes) error {
	_, statErr := os.Lstat(path)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, e.mode.Perm()|0o200)
	if err != nil {
		return s.complain(err) // the source then sends nothing
	}
	defer f.Close()
	if err := s.ok(); err != nil {
		return err
	}
	problem, err := s.content(f, e.size)
	if err != nil {
		return err
	}
	// The source now confirms that the file is whole, or has told its user that it is not.
	// It waits for an answer in both cases.
	if _, err := s.answer(); err != nil {
		return err
	}
	if problem == nil {
		problem = truncateRegular(f, e.size)
	}
	if closeErr := f.Close(); problem == nil {
		problem = closeErr
	}
	if problem == nil {
		problem = s.finish(path, e, times, errors.Is(statErr, os.ErrNotExist))
	}
	if problem != nil {
		return s.complain(problem)
	}
	return s.ok()
}

// content copies size bytes. problem is an error of the file, err one of the connection.
func (s *scpSink) content(f io.Writer, size int64) (problem, err error) {
	b := buffers.Get()
	defer buffers.Put(b)
	buf := *b
	for size > 0 {
		n, err := s.in.Read(buf[:min(size, copySize)])
		if n == 0 && err != nil {
			return problem, fmt.Errorf("the connection ended within a file: %w", err)
		}
		size -= int64(n)
		if problem == nil {
			_, problem = f.Write(buf[:n])
		}
	}
	return problem, nil
}

// truncateRegular cuts the rest of a longer old file. A device has no length.
func truncateRegular(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	return f.Truncate(size)
}

// finish sets the mode and times of a received entry. Without -p, an existing file keeps
// its mode and a new one obeys the umask.
func (s *scpSink) finish(path string, e scpEntry, times *scpTimes, made bool) error {
	mode := e.mode &^ s.umask
	if s.options.times {
		mode = e.mode
	}
	if made || s.options.times {
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	if times == nil {
		return nil
	}
	return os.Chtimes(path, time.Unix(times.accessed, 0), time.Unix(times.modified, 0))
}
