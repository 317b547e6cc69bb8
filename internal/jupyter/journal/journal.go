// Package journal keeps on disk what kernels say about each execution, until a saved
// notebook has it. A record is handed to the operating system before Append or Flush returns, so
// a killed program loses nothing; a machine that loses power loses its kernels too, and
// nothing is synced.
//
// An execution has one or more files of about Limits.Segment bytes, its segments. A
// full one is compacted: text is merged, and what was overwritten or cleared is
// dropped. If a kernel's files are larger than Limits.Kernel, the middle of an output
// is left out, and the output says so.
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

// Limits bound what is kept of a kernel.
type Limits struct {
	Segment    int64 // bytes after which a segment is compacted, and another begins
	Head       int   // segments at the beginning of an output that stay
	Kernel     int64 // bytes of all segments of a kernel
	Executions int   // of a kernel
	Owed       int64 // bytes of output that wait in memory for a disk that cannot be written
}

// Default is 256 MiB for a kernel, and 1 MiB at a time in memory.
var Default = Limits{Segment: 1 << 20, Head: 64, Kernel: 256 << 20, Executions: 10000, Owed: 4 << 20}

// Journal has the executions of one kernel. It is not safe for concurrent use.
type Journal struct {
	dir    string
	limits Limits
	execs  []*Execution
	byID   map[string]*Execution
	next   int
	total  int64
	queued []*Execution // that have records which are not yet written
	failed time.Time    // when the disk could last not be written,
	why    error        // and why
}

// Open reads what is in the directory, which it makes if need be. A record that was
// not written whole is cut off. If the connection is still there from which the records
// came, so are those of a write that was not whole: they come again.
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
	for _, entry := range entries { // in order: the numbers have leading zeros
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
		if e.ID == "" { // killed before the request was whole
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

// Executions returns those that are kept, in the order in which they were asked for.
// The slice belongs to the journal.
func (j *Journal) Executions() []*Execution { return j.execs }

// Find returns the execution of a request, or nil.
func (j *Journal) Find(id string) *Execution { return j.byID[id] }

// Updates returns the executions that have shown the display that a message is of, except
// the message's own: any cell may change what another shows.
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

// ForgetDisplays has later updates change nothing of what was shown before: a kernel that
// begins anew has no displays, and may use their ids again. It queues that for the next Flush.
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

// Flush hands what was queued to the operating system, and notes with it what it comes
// of. An error means that some of it is not on disk. It waits in memory for the next Flush
// or, if that is too much, the outputs will say that it is lost.
func (j *Journal) Flush(m Mark) error {
	for _, e := range j.queued {
		e.Mark = m
	}
	return j.flush()
}

// Retry writes what is queued, or what an error of Flush has left.
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
	for _, e := range queued { // all is committed: now it may be moved
		errs = append(errs, e.tend())
	}
	return errors.Join(errs...)
}

// retryTime is the time before a disk that could not be written is tried again.
const retryTime = time.Second

// Marks returns what was written last to each execution.
func (j *Journal) Marks() (all []Mark) {
	for _, e := range j.execs {
		if e.Mark.Bytes > 0 && !slices.Contains(all, e.Mark) {
			all = append(all, e.Mark)
		}
	}
	return all
}

// Remove forgets an execution.
func (j *Journal) Remove(e *Execution) {
	j.execs = slices.DeleteFunc(j.execs, func(x *Execution) bool { return x == e })
	if j.byID[e.ID] == e {
		delete(j.byID, e.ID)
	}
	e.queue, e.open = nil, false
	e.close()
	for _, s := range e.segments {
		_ = os.Remove(e.path(s.index)) // loaded again at worst
		j.total -= s.size
	}
	e.segments = nil
}

// Close closes the files. The journal stays on disk.
func (j *Journal) Close() {
	j.failed = time.Time{}
	_ = j.flush() // was told
	for _, e := range j.execs {
		e.close()
	}
}

// Delete removes the journal from the disk.
func (j *Journal) Delete() error {
	j.Close()
	return os.RemoveAll(j.dir)
}

// trim keeps the limits: what is in the middle of the oldest output goes first, then
// all that the oldest finished executions have shown.
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

// uncommitted cuts off a file what is behind its last commit.
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

// readFile reads the records of a segment. It returns the size of those that are whole.
func readFile(path string, f func(record) error) (int64, error) { return readPath(path, readAll, f) }

// readPath is readFile by readAll or a lender.
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
