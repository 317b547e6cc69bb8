package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A full file ends with the event rotate and gets another name. The next file begins with the event
// rotated, which records where the log begins from then on. Any other missing line was removed by
// another program. When the program removes a file, it moves the lines that are no refusals to a
// file beside the log, whose hash is in the event. So no number of refusals pushes out a use of a
// key.

// Rotation is the content of the event "rotated".
type Rotation struct {
	Oldest uint64 `json:"oldest"`             // the first event that is there from then on
	Before string `json:"before"`             // its Prev
	Kept   int    `json:"kept,omitempty"`     // lines of earlier ones that are kept beside the log
	Hash   string `json:"keptHash,omitempty"` // SHA-256 of the file of these

	Flaws []string `json:"flaws,omitempty"` // earlier flaws, which must not be forgotten
}

func keptPath(path string) string { return path + ".kept" }

// nextKept returns the path of the file of kept lines before the event that vouches for it is
// written.
func nextKept(path string) string { return keptPath(path) + ".new" }

// keeps reports whether the event stays when its file goes.
func keeps(e Event) bool {
	switch e.Event {
	case Rotate, Rotated, Repaired:
		return false
	}
	return e.Verdict != Denied && e.Verdict != Failed
}

// rotate ends the file and begins another, which continues what this process knows of
// the end: to read the file for it would take longer than to write it.
func (l *Log) rotate() error {
	if err := l.write(Event{Event: Rotate, Time: time.Now(), Reason: "the log goes on in the next file"}); err != nil {
		return err
	}
	if err := os.Rename(l.path, fmt.Sprintf("%s.%020d", l.path, l.end.seq)); err != nil {
		return err
	}
	end := l.end.next()
	return l.openAfter(func() (tail, error) { return end, nil })
}

// begin writes the event rotated into a file that has none although others came
// before it, and removes the oldest of those if there are too many. A crash leaves
// more files than the event says, never fewer.
func (l *Log) begin() error {
	old, err := rotated(l.path)
	if err != nil || len(old) == 0 {
		return err
	}
	gone, stay := old[:max(0, len(old)-l.files)], old[max(0, len(old)-l.files):]
	r, err := l.prepare(old, gone, stay)
	if err != nil {
		return err
	}
	e := Event{Event: Rotated, Time: time.Now(), Rotation: &r, Reason: fmt.Sprintf("the log begins with event %d", r.Oldest)}
	if err := l.write(e); err != nil {
		return err
	}
	l.end.begun, l.end.rotation = true, &r
	if err := os.Rename(nextKept(l.path), keptPath(l.path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, path := range gone {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// prepare returns the content of the event that is written once the old files are gone.
func (l *Log) prepare(old, gone, stay []string) (r Rotation, err error) {
	before := l.end.rotation
	if before == nil { // the newest of the old files has none
		if before, err = lastRotation(old[:len(old)-1]); err != nil {
			return r, err
		}
	}
	if err := l.settleKept(before); err != nil {
		return r, err
	}
	n, hash, err := hashLines(keptPath(l.path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	if r, err = oldest(append(slices.Clone(stay), l.path)); err != nil {
		return r, err
	}
	if r.Flaws, err = l.flaws(before, append(slices.Clone(old), l.path), hash); err != nil {
		return r, err
	}
	r.Kept, r.Hash = n, hash
	more, err := l.keptOf(gone)
	if err == nil && len(more) > 0 {
		r.Kept, r.Hash, err = l.keep(more)
	}
	return r, err
}

// oldest returns the event with which the files begin.
func oldest(files []string) (r Rotation, err error) {
	found := errors.New("found")
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return r, err
		}
		_, err = lines(f, func(e Event) error {
			r = Rotation{Oldest: e.Seq, Before: e.Prev}
			return found
		})
		f.Close()
		if errors.Is(err, found) {
			return r, nil
		}
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// lastRotation returns the newest event about the beginning of the log; nil if there is none.
func lastRotation(files []string) (last *Rotation, err error) {
	for _, path := range slices.Backward(files) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		_, err = lines(f, func(e Event) error {
			if e.Rotation != nil {
				last = e.Rotation
			}
			return nil
		})
		f.Close()
		if err != nil || last != nil {
			return last, err
		}
	}
	return nil, nil
}

// settleKept ends a rotation that was not ended: the kept lines for which its event
// vouches still have the name for the time before.
func (l *Log) settleKept(r *Rotation) error {
	_, hash, err := hashLines(nextKept(l.path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if r != nil && r.Hash == hash {
		return os.Rename(nextKept(l.path), keptPath(l.path))
	}
	return os.Remove(nextKept(l.path))
}

// flaws returns the earlier flaws, and those that are found now. They must not be forgotten when
// the log begins elsewhere. hash covers the kept lines that exist.
func (l *Log) flaws(before *Rotation, files []string, hash string) ([]string, error) {
	if before == nil {
		return nil, nil
	}
	flaws := before.Flaws
	next := before.Oldest
	for _, path := range files {
		is, err := oldest([]string{path})
		if err != nil {
			return nil, err
		}
		if flaw := missing(next, is.Oldest-1); is.Oldest > next && next > 0 && !slices.Contains(flaws, flaw) {
			flaws = append(flaws, flaw)
		}
		next = lastOf(path) + 1
	}
	if before.Kept > 0 && hash != before.Hash {
		flaws = append(flaws, keptLost(l.path, before.Kept))
	}
	return flaws[:min(len(flaws), maxFlaws)], nil
}

// lastOf returns the number of the last event in a rotated file, which its name contains.
func lastOf(path string) uint64 {
	n, err := strconv.ParseUint(strings.TrimPrefix(filepath.Ext(path), "."), 10, 64)
	if err != nil {
		return 0 // it is the newest file
	}
	return n
}

// maxFlaws bounds the flaws that the event rotated repeats.
const maxFlaws = 16

func missing(first, last uint64) string {
	return fmt.Sprintf("events %d to %d are missing: they were removed, and not by keyway", first, last)
}

func keptLost(path string, n int) string {
	return fmt.Sprintf("%s was changed or removed, and not by keyway: it had %d uses and changes of keys", keptPath(path), n)
}

// keptOf returns the lines of the files that must be kept and are not yet.
func (l *Log) keptOf(gone []string) (more []byte, err error) {
	if len(gone) == 0 {
		return nil, nil
	}
	last, err := lastSeq(keptPath(l.path))
	if err != nil {
		return nil, err
	}
	for _, path := range gone {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(data) {
			var e Event
			if json.Unmarshal(line, &e) == nil && keeps(e) && e.Seq > last && bytes.HasSuffix(line, []byte("\n")) {
				more = append(more, line...)
			}
		}
	}
	return more, nil
}

// keep writes the kept lines with more of them under their next name, and gives their
// number and hash. It copies them: they may take many times the memory that an agent has.
func (l *Log) keep(more []byte) (n int, hash string, err error) {
	next, err := os.OpenFile(nextKept(l.path), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, next.Close()) }()
	var sum lineHash
	to := io.MultiWriter(next, &sum)
	old, err := os.Open(keptPath(l.path))
	if err == nil {
		defer old.Close()
		// Uses of keys may push out uses of keys; refusals may not.
		err = copyEnd(to, old, int64(l.files)*l.limit-int64(len(more)))
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		_, err = to.Write(more)
	}
	n, hash = sum.result()
	return n, hash, err
}

// copyEnd copies the last whole lines of a file, room bytes of them at most.
func copyEnd(to io.Writer, from *os.File, room int64) error {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	r := bufio.NewReader(from)
	for excess := info.Size() - room; excess > 0; {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		excess -= int64(len(line))
	}
	_, err = r.WriteTo(to)
	return err
}

// lastSeq returns the number of the last event in the file, or 0 if there is none.
func lastSeq(path string) (uint64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	end := make([]byte, min(info.Size(), maxLine))
	if _, err := f.ReadAt(end, info.Size()-int64(len(end))); err != nil {
		return 0, err
	}
	end = bytes.TrimSuffix(end, []byte("\n"))
	var e Event
	if json.Unmarshal(end[bytes.LastIndexByte(end, '\n')+1:], &e) != nil {
		return 0, nil
	}
	return e.Seq, nil
}

// lineHash counts and hashes the lines that are written to it.
type lineHash struct {
	sum hash.Hash
	n   int
}

func (h *lineHash) Write(p []byte) (int, error) {
	if h.sum == nil {
		h.sum = sha256.New()
	}
	h.n += bytes.Count(p, []byte("\n"))
	return h.sum.Write(p)
}

func (h *lineHash) result() (int, string) {
	_, _ = h.Write(nil)
	return h.n, hex.EncodeToString(h.sum.Sum(nil))
}

// hashLines returns the number of lines and the hash of a file.
func hashLines(path string) (n int, hash string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	var sum lineHash
	if _, err := io.Copy(&sum, f); err != nil {
		return 0, "", err
	}
	n, hash = sum.result()
	return n, hash, nil
}

// readKept calls each for the kept events before the one with the number, in order.
func readKept(path string, before uint64, each func(Event) error) error {
	f, err := os.Open(keptPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = lines(f, func(e Event) error {
		if e.Seq >= before {
			return nil // its file is still there
		}
		return each(e)
	})
	return err
}

// rotated returns the rotated files of the log at path, oldest first.
func rotated(path string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		suffix, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		if ok && len(suffix) == 20 && strings.Trim(suffix, "0123456789") == "" {
			files = append(files, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	slices.Sort(files)
	return files, nil
}
