package journal

import (
	"bufio"
	"bytes"
	"errors"
	"os"
)

// rewriter rewrites a segment. It merges pieces of one stream, drops text that carriage returns
// have overwritten, and moves the last commit to the end. It holds little more than one record.
type rewriter struct {
	out    *bufio.Writer
	size   int64  // bytes written
	name   string // of the stream whose text is pending
	text   []byte // pending text of that stream
	commit record
}

// mergedText bounds the bytes that a rewriter merges.
const mergedText = 1 << 20

// add writes a record. It keeps no part of it.
func (w *rewriter) add(r record) error {
	switch r.kind {
	case commit:
		w.commit = record{commit, bytes.Clone(r.data)}
		return nil
	case stream:
		name, text := r.text()
		var err error
		if name != w.name || len(w.text)+len(text) > mergedText {
			err = w.flush()
		}
		w.name, w.text = name, append(w.text, text...)
		return err
	}
	return errors.Join(w.flush(), w.write(r))
}

func (w *rewriter) addAll(records []record) error {
	for _, r := range records {
		if err := w.add(r); err != nil {
			return err
		}
	}
	return nil
}

func (w *rewriter) flush() error {
	if len(w.text) == 0 {
		return nil
	}
	r := textRecord(w.name, fold(string(w.text)))
	w.text = w.text[:0]
	return w.write(r)
}

func (w *rewriter) write(r record) error {
	for _, part := range r.parts() {
		n, err := w.out.Write(part)
		if w.size += int64(n); err != nil {
			return err
		}
	}
	return nil
}

func (w *rewriter) end() error {
	err := w.flush()
	if w.commit.kind == commit {
		err = errors.Join(err, w.write(w.commit))
	}
	return errors.Join(err, w.out.Flush())
}

// rewrite atomically replaces a segment by the records that f adds.
func (e *Execution) rewrite(at int, f func(*rewriter) error) error {
	path := e.path(e.segments[at].index)
	temporary := path + ".new"
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	w := &rewriter{out: bufio.NewWriterSize(file, 64<<10)}
	if err = errors.Join(f(w), w.end(), file.Close()); err != nil {
		_ = os.Remove(temporary)
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	if at == len(e.segments)-1 {
		w.size += int64(len(e.queue))
	}
	e.j.total += w.size - e.segments[at].size
	e.segments[at].size = w.size
	return nil
}

// compactSegment compacts a segment. It reports whether an output was cleared.
func (e *Execution) compactSegment(at int) (cleared bool, err error) {
	path := e.path(e.segments[at].index)
	var all []outline
	var l lender
	if _, err := readPath(path, l.readAll, func(r record) error { all = append(all, r.outline()); return nil }); err != nil {
		return false, err
	}
	stays, cleared := compact(all)
	return cleared, e.rewrite(at, func(w *rewriter) error {
		i := -1
		_, err := readPath(path, l.readAll, func(r record) error {
			if i++; stays[i] {
				return w.add(r)
			}
			return nil
		})
		return err
	})
}
