package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"keyway/internal/filelock"
)

// genesis is the Prev of the first line ever.
var genesis = strings.Repeat("0", 2*sha256.Size)

// Log appends to the file at its path. Several processes may do so at once.
type Log struct {
	path  string
	limit int64 // bytes of a file before it is rotated
	files int   // rotated files that are kept

	mu   sync.Mutex // serialises Append within the process
	lock filelock.Repeated
	file *os.File
	is   os.FileInfo // of file, whatever its size is by now
	end  tail
	line bytes.Buffer // that is being written
}

// tail describes the end of a file, which the next line has to continue.
type tail struct {
	size int64
	seq  uint64
	hash string
	torn bool // the last line has no end, or is not ours

	begun    bool      // the file has the event that says where the log begins
	rotation *Rotation // what the last such event says, of this file or of one before; nil: not seen
}

// next describes the end of a file that is empty yet, and follows this one.
func (t tail) next() tail { return tail{seq: t.seq, hash: t.hash, rotation: t.rotation} }

// Open opens the log at path, which it makes if need be. An incomplete last line stays. It gets a
// line end, and the next event reports it.
func Open(path string) (*Log, error) {
	l := &Log{path: path, limit: maxFile, files: maxFiles, lock: filelock.Repeated{Path: path + ".lock"}}
	if err := l.lock.Lock(); err != nil {
		return nil, err
	}
	if err := l.reopen(); err != nil {
		return nil, errors.Join(err, l.lock.Close())
	}
	l.lock.Unlock()
	return l, nil
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := errors.Join(l.file.Close(), l.lock.Close())
	l.file = nil
	return err
}

// Append adds e, with its Seq, Prev and, if it has none, Time set. When it
// returns without an error the line has been handed to the operating system; a
// power cut may still take it.
func (l *Log) Append(e Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return errors.New("the audit log is closed")
	}
	if err := l.lock.Lock(); err != nil {
		return err
	}
	defer l.lock.Unlock()
	if err := l.catchUp(); err != nil {
		return err
	}
	if l.end.size >= l.limit {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	return l.write(e)
}

// write appends one line at the end that l.end describes.
func (l *Log) write(e Event) error {
	e.Seq, e.Prev = l.end.seq+1, l.end.hash
	l.line.Reset()
	if err := e.encode(&l.line); err != nil {
		return err
	}
	line := l.line.Bytes()
	if _, err := l.file.Write(line); err != nil {
		// A part of a line would be repaired later; better that there is none.
		_ = l.file.Truncate(l.end.size)
		return fmt.Errorf("the audit log cannot be written: %w", err)
	}
	l.end.advance(line, e.Seq)
	return nil
}

func (t *tail) advance(line []byte, seq uint64) {
	sum := sha256.Sum256(line)
	t.size += int64(len(line))
	t.seq, t.hash, t.torn = seq, hex.EncodeToString(sum[:]), false
}

// catchUp reads what other processes have appended, or opens the file that
// another process has begun.
func (l *Log) catchUp() error {
	now, err := os.Stat(l.path)
	switch {
	case err != nil || !os.SameFile(now, l.is) || now.Size() < l.end.size:
		return l.reopen()
	case now.Size() == l.end.size:
		return nil
	}
	return l.readOn()
}

// reopen opens the file at the path and learns its end.
func (l *Log) reopen() error { return l.openAfter(l.before) }

// openAfter is reopen where before returns the end that the file continues.
func (l *Log) openAfter(before func() (tail, error)) error {
	file, err := os.OpenFile(l.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	is, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file, l.is = file, is
	l.end, err = before()
	if err == nil {
		err = l.readOn()
	}
	if err == nil && !l.end.begun {
		err = l.begin()
	}
	return err
}

// before returns the end of the newest rotated file, which the current file continues.
func (l *Log) before() (tail, error) {
	old, err := rotated(l.path)
	if err != nil || len(old) == 0 {
		return tail{hash: genesis}, err
	}
	f, err := os.Open(old[len(old)-1])
	if err != nil {
		return tail{}, err
	}
	defer f.Close()
	end := tail{hash: genesis}
	err = end.read(f)
	return end.next(), err
}

// readOn reads from where l.end is to the end of the file, and mends a line that
// has no end.
func (l *Log) readOn() error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if err := l.end.read(io.NewSectionReader(l.file, l.end.size, info.Size()-l.end.size)); err != nil {
		return err
	}
	if !l.end.torn {
		return nil
	}
	return l.mend()
}

func (l *Log) mend() error {
	if info, err := l.file.Stat(); err == nil && info.Size() > l.end.size {
		// The rest has no newline. The line is hashed as it will then be.
		rest, err := io.ReadAll(io.NewSectionReader(l.file, l.end.size, info.Size()-l.end.size))
		if err != nil {
			return err
		}
		if _, err := l.file.Write([]byte{'\n'}); err != nil {
			return err
		}
		// It may be whole but for its newline, and is an event then.
		l.end.torn = false
		if err := l.end.read(bytes.NewReader(append(rest, '\n'))); err != nil || !l.end.torn {
			return err
		}
	}
	return l.write(Event{Event: Repaired, Time: time.Now(), Reason: "the line before was not written to its end"})
}

// read goes over whole lines. It leaves out a rest without newline, and reports
// that in torn.
func (t *tail) read(r io.Reader) error {
	b := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := b.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			t.torn = t.torn || len(line) > 0
			return nil
		}
		if err != nil {
			return err
		}
		var e Event
		if json.Unmarshal(line, &e) != nil {
			t.advance(line, t.seq)
			t.torn = true
			continue
		}
		if e.Rotation != nil {
			t.begun, t.rotation = true, e.Rotation
		}
		t.advance(line, e.Seq)
	}
}

// files returns all files of the log, oldest first.
func files(path string) ([]string, error) {
	list, err := rotated(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err == nil {
		list = append(list, path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return list, nil
}
