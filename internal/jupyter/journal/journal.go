// Package journal keeps the messages of kernels about each execution on disk, until a saved
// notebook has the outputs. Append and Flush hand records to the operating system before they
// return, so a killed program loses nothing. The files are not synced: if the machine loses power,
// it loses its kernels, too.
//
// An execution has one or more files of about Limits.Segment bytes, its segments. A full segment is
// compacted: text is merged, and output that was overwritten or cleared is dropped. If a kernel's
// files are larger than Limits.Kernel, the middle of an output is left out, and the output says so.
package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"keyway/internal/jupyter/wire"
)

// Limits bound the files and the memory of a kernel's journal.
type Limits struct {
	Segment    int64 // bytes after which a segment is compacted, and another begins
	Head       int   // segments at the beginning of an output that stay
	Kernel     int64 // bytes of all segments of a kernel
	Executions int   // of a kernel
	Owed       int64 // bytes of output that wait in memory for a disk that cannot be written
}

// Default has the limits of a workspace: 256 MiB on disk for each kernel.
var Default = Limits{Segment: 1 << 20, Head: 64, Kernel: 256 << 20, Executions: 10000, Owed: 4 << 20}

// Journal contains the executions of one kernel. It is not safe for concurrent use.
type Journal struct {
	dir    string
	limits Limits
	execs  []*Execution
	byID   map[string]*Execution
	next   int
	total  int64
	queued []*Execution // executions with records that are not written yet
	failed time.Time    // the time of the last failed write,
	why    error        // and its error
}

// Open reads the journal in a directory, which it makes if necessary. It removes an incomplete
// record. With again, the connection from which the records came is still open; then Open also
// removes the records of an incomplete write, since their messages come again.
func Open(dir string, limits Limits, again bool) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	j := &Journal{dir: dir, limits: limits, byID: map[string]*Execution{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	byNumber := map[int]*Execution{}
	for _, entry := range entries { // in ascending order: the numbers have leading zeros
		number, segment, ok := parseName(entry.Name())
		if !ok {
			if strings.HasSuffix(entry.Name(), ".new") {
				_ = os.Remove(filepath.Join(dir, entry.Name()))
			}
			continue
		}
		e := byNumber[number]
		if e == nil {
			e = &Execution{j: j, number: number}
			byNumber[number] = e
			j.execs = append(j.execs, e)
		}
		if again {
			err = uncommitted(e.path(segment))
		}
		if err == nil {
			err = e.load(segment)
		}
		if err != nil {
			return nil, err
		}
		j.next = max(j.next, number+1)
	}
	for _, e := range slices.Clone(j.execs) {
		if e.ID == "" { // a program was killed before it had written the request
			j.Remove(e)
			continue
		}
		j.byID[e.ID] = e
	}
	return j, nil
}

func parseName(name string) (number, segment int, ok bool) {
	a, b, found := strings.Cut(name, ".")
	number, err1 := strconv.Atoi(a)
	segment, err2 := strconv.Atoi(b)
	return number, segment, found && len(a) == 8 && len(b) == 6 && err1 == nil && err2 == nil && number >= 0 && segment >= 0
}

// Executions returns the executions in the order of their requests. The caller must not change the
// slice.
func (j *Journal) Executions() []*Execution { return j.execs }

// Find returns the execution of a request; nil if there is none.
func (j *Journal) Find(id string) *Execution { return j.byID[id] }

// Updates returns the executions that have shown the display of a message, except the execution
// that the message belongs to. A cell may change the outputs of any other.
func (j *Journal) Updates(m wire.Message) (all []*Execution) {
	id := displayID(m)
	if id == "" {
		return nil
	}
	for _, e := range j.execs {
		if e.ID != m.Origin.ID && slices.Contains(e.displays, id) {
			all = append(all, e)
		}
	}
	return all
}

// ForgetDisplays prevents later updates of all displays so far. A kernel that was restarted has no
// displays, and may use their ids again. The record is queued for the next Flush.
func (j *Journal) ForgetDisplays() {
	for _, e := range j.execs {
		if len(e.displays) > 0 {
			e.displays = nil
			e.add(record{anew, nil})
		}
	}
}

// Size returns the size of all files in bytes.
func (j *Journal) Size() int64 { return j.total }

// Flush hands the queued records to the operating system, together with the mark of the bytes that
// they come from. After an error, records wait in memory for the next Flush. If they exceed
// Limits.Owed, outputs are dropped, and the output says so.
func (j *Journal) Flush(m Mark) error {
	for _, e := range j.queued {
		e.Mark = m
	}
	return j.flush()
}

// Retry writes the queued records, and those that an earlier Flush could not write.
func (j *Journal) Retry() error { return j.flush() }

func (j *Journal) flush() error {
	queued := j.queued
	if time.Since(j.failed) < retryTime {
		j.owe()
		return j.why
	}
	j.queued = nil
	var errs []error
	for _, e := range queued {
		if err := e.flush(); err != nil {
			errs, j.queued = append(errs, err), append(j.queued, e)
		}
	}
	if err := errors.Join(errs...); err != nil {
		j.failed, j.why = time.Now(), err
		j.owe()
		return err
	}
	for _, e := range queued { // everything has its commit, so segments can be rewritten
		errs = append(errs, e.tend())
	}
	return errors.Join(errs...)
}

// retryTime is the time after a failed write before the next attempt.
const retryTime = time.Second

// Marks returns the marks of the last writes to each execution.
func (j *Journal) Marks() (all []Mark) {
	for _, e := range j.execs {
		if e.Mark.Bytes > 0 && !slices.Contains(all, e.Mark) {
			all = append(all, e.Mark)
		}
	}
	return all
}

// Remove removes an execution and its files.
func (j *Journal) Remove(e *Execution) {
	j.execs = slices.DeleteFunc(j.execs, func(x *Execution) bool { return x == e })
	if j.byID[e.ID] == e {
		delete(j.byID, e.ID)
	}
	e.queue, e.open = nil, false
	e.close()
	for _, s := range e.segments {
		_ = os.Remove(e.path(s.index)) // if that fails, the next Open loads it again
		j.total -= s.size
	}
	e.segments = nil
}

// Close closes the files. The journal stays on disk.
func (j *Journal) Close() {
	j.failed = time.Time{}
	_ = j.flush() // the error was reported before
	for _, e := range j.execs {
		e.close()
	}
}

// Delete removes the journal from the disk.
func (j *Journal) Delete() error {
	j.Close()
	return os.RemoveAll(j.dir)
}

// trim enforces the limits. It removes the middle of the oldest output first, then the outputs of
// the oldest finished executions.
func (j *Journal) trim() error {
	for len(j.execs) > j.limits.Executions {
		at := slices.IndexFunc(j.execs, (*Execution).Finished)
		j.Remove(j.execs[max(at, 0)])
	}
	if j.total <= j.limits.Kernel {
		return nil
	}
	errs := []error{j.flush()}
	for j.total > j.limits.Kernel {
		if !slices.ContainsFunc(j.execs, func(e *Execution) bool { return e.dropMiddle(&errs) || e.dropAll(&errs) }) {
			break
		}
	}
	return errors.Join(errs...)
}

// uncommitted truncates a file after its last commit.
func uncommitted(path string) error {
	var at, size int64
	_, err := readFile(path, func(r record) error {
		size += int64(len(r.head(nil)) + len(r.data) + crc32.Size)
		if r.kind == commit {
			at = size
		}
		return nil
	})
	if err != nil && !errors.Is(err, errTorn) {
		return err
	}
	return os.Truncate(path, at)
}

// readFile calls f with each record of a segment. It returns the length of the complete records in
// bytes.
func readFile(path string, f func(record) error) (int64, error) { return readPath(path, readAll, f) }

// readPath is readFile with readAll or a lender as read.
func readPath(path string, read func(sized, func(record) error) (int64, error), f func(record) error) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	size, err := read(io.NewSectionReader(file, 0, info.Size()), f)
	if errors.Is(err, errTorn) {
		return size, fmt.Errorf("%s: %w", path, err)
	}
	return size, err
}
