package front

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"keyway/internal/jupyter/notebook"
)

// spool is the body of a request or an answer. It is an unnamed file, not memory: a notebook may
// be larger than the memory that this program should use.
type spool struct {
	*os.File
	size int64
}

// spool reads a whole body. The caller closes the spool.
func (f *Front) spool(r io.Reader) (*spool, error) {
	return f.spoolOf(func(w io.Writer) error {
		n, err := io.Copy(w, io.LimitReader(r, maxBody+1))
		if err == nil && n > maxBody {
			err = fmt.Errorf("more than %d bytes", maxBody)
		}
		return err
	})
}

func (f *Front) spoolOf(write func(io.Writer) error) (*spool, error) {
	file, err := os.CreateTemp(f.Dir, "body-*.new")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	buffered := bufio.NewWriterSize(file, 64<<10)
	if err = write(buffered); err == nil {
		err = buffered.Flush()
	}
	size, seekErr := file.Seek(0, io.SeekEnd)
	if err = errors.Join(err, seekErr); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &spool{file, size}, nil
}

func (s *spool) all() notebook.Span { return notebook.Span{To: s.size} }

func (s *spool) read() *io.SectionReader { return io.NewSectionReader(s, 0, s.size) }

// scan reads the model of a notebook. It returns an error if the body is not one.
func (s *spool) scan() (*notebook.Document, error) {
	doc, err := notebook.Scan(s.read())
	if err == nil && doc.Content.To == 0 {
		err = errors.New("it has no cells")
	}
	return doc, err
}

// send makes the spool the body of a request.
func (s *spool) send(r *http.Request) {
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(s.read()), nil }
	r.Body, _ = r.GetBody()
	r.ContentLength = s.size
}
