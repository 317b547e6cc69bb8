// Package client reads a file system by SFTP version 3, as an fs.FS. It writes nothing. The server
// may be hostile: all data that it sends on a connection is bounded, and a request is sent only
// when the one before has been answered. Begin with New.
package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sync"
	"time"

	"keyway/internal/sshwire"
)

// Bounds on a server's answers.
const (
	maxMessage = 256 << 10 // bytes of one message
	// maxName bounds a name in bytes (NAME_MAX of Linux).
	maxName = 255
	chunk   = 64 << 10 // bytes of one read
)

// Messages and codes (draft-ietf-secsh-filexfer-02, sections 3 and 7).
const (
	fxpInit     = 1
	fxpVersion  = 2
	fxpOpen     = 3
	fxpClose    = 4
	fxpRead     = 5
	fxpLstat    = 7
	fxpOpendir  = 11
	fxpReaddir  = 12
	fxpStat     = 17
	fxpReadlink = 19
	fxpStatus   = 101
	fxpHandle   = 102
	fxpData     = 103
	fxpName     = 104
	fxpAttrs    = 105

	statusEOF        = 1
	statusNoSuchFile = 2
	statusDenied     = 3

	flagRead = 1 // of OPEN
)

// Client is the file system at the other end. Its names are below the root directory.
type Client struct {
	mu   sync.Mutex
	to   io.Writer
	from io.LimitedReader
	id   uint32
	err  error // the connection cannot be used any more
}

var (
	_ fs.FS     = (*Client)(nil)
	_ fs.StatFS = (*Client)(nil)
)

// New greets the server at the other end of rw, which may say limit bytes in all.
func New(rw io.ReadWriter, limit int64) (*Client, error) {
	c := &Client{to: rw, from: io.LimitedReader{R: rw, N: limit}}
	if err := c.send(fxpInit, binary.BigEndian.AppendUint32(nil, 3)); err != nil {
		return nil, err
	}
	kind, _, err := c.receive()
	if err == nil && kind != fxpVersion {
		err = fmt.Errorf("the server greets with message %d", kind)
	}
	return c, err
}

func (c *Client) send(kind byte, body []byte) error {
	message := binary.BigEndian.AppendUint32(nil, uint32(len(body)+1))
	_, err := c.to.Write(append(append(message, kind), body...))
	return err
}

var errTooMuch = errors.New("the server sends too much")

func (c *Client) receive() (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(&c.from, head[:]); err != nil {
		return 0, nil, c.cut(err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 1 || size > maxMessage {
		return 0, nil, fmt.Errorf("the server sends a message of %d bytes", size)
	}
	body = make([]byte, size-1)
	if _, err := io.ReadFull(&c.from, body); err != nil {
		return 0, nil, c.cut(err)
	}
	return head[4], body, nil
}

func (c *Client) cut(err error) error {
	if c.from.N <= 0 {
		return errTooMuch
	}
	return err
}

// ask sends a request and returns its answer. A status is an error.
func (c *Client) ask(kind byte, body []byte, want byte) (*sshwire.Reader, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	c.id++
	r, err := c.exchange(kind, body, want)
	var said statusError
	if err != nil && !errors.As(err, &said) {
		c.err = err // its place in the stream is lost
	}
	return r, err
}

func (c *Client) exchange(kind byte, body []byte, want byte) (*sshwire.Reader, error) {
	if err := c.send(kind, append(binary.BigEndian.AppendUint32(nil, c.id), body...)); err != nil {
		return nil, err
	}
	got, answer, err := c.receive()
	if err != nil {
		return nil, err
	}
	r := sshwire.NewReader(answer)
	if id := r.Uint32(); r.Err() != nil || id != c.id {
		return nil, errors.New("the server answers another request")
	}
	switch got {
	case want:
		return r, nil
	case fxpStatus:
		return nil, statusError(r.Uint32())
	}
	return nil, fmt.Errorf("the server answers with message %d", got)
}

// statusError is a server's refusal, or the end of a file or directory.
type statusError uint32

func (s statusError) Error() string {
	return fmt.Sprintf("the server answers with status %d", uint32(s))
}

func (s statusError) Is(target error) bool {
	switch s {
	case statusEOF:
		return target == io.EOF
	case statusNoSuchFile:
		return target == fs.ErrNotExist
	case statusDenied:
		return target == fs.ErrPermission
	}
	return false
}

// Err returns the error that ended the connection; nil: it can be used. Every later request fails
// with it, whatever the file.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func text(s string) []byte { return sshwire.AppendString(nil, s) }

// Stat implements fs.StatFS.
func (c *Client) Stat(name string) (fs.FileInfo, error) { return c.stat(fxpStat, "stat", name) }

// Lstat is Stat of a symbolic link itself.
func (c *Client) Lstat(name string) (fs.FileInfo, error) { return c.stat(fxpLstat, "lstat", name) }

func (c *Client) stat(kind byte, op, name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	r, err := c.ask(kind, text("/"+name), fxpAttrs)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	info := readAttributes(r, path.Base(name))
	return info, r.Err()
}

// LinkTarget returns where a symbolic link leads.
func (c *Client) LinkTarget(name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	r, err := c.ask(fxpReadlink, text("/"+name), fxpName)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	if r.Uint32() != 1 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	target := string(r.String())
	return target, r.Err()
}

// Open implements fs.FS. A file or directory is opened at the server when it is read.
func (c *Client) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return &file{client: c, name: name}, nil
}

// file is an open file or directory.
type file struct {
	client *Client
	name   string
	handle []byte // nil: not opened yet
	offset uint64
	rest   []fs.DirEntry
}

var _ fs.ReadDirFile = (*file)(nil)

func (f *file) Stat() (fs.FileInfo, error) { return f.client.Stat(f.name) }

func (f *file) open(kind byte, body []byte) error {
	if f.handle != nil {
		return nil
	}
	r, err := f.client.ask(kind, body, fxpHandle)
	if err == nil {
		f.handle = r.String()
		err = r.Err()
	}
	return err
}

// Read implements fs.File.
func (f *file) Read(p []byte) (int, error) {
	body := binary.BigEndian.AppendUint32(text("/"+f.name), flagRead)
	if err := f.open(fxpOpen, binary.BigEndian.AppendUint32(body, 0)); err != nil {
		return 0, f.failed("read", err)
	}
	if len(p) == 0 {
		return 0, nil
	}
	want := min(len(p), chunk)
	body = binary.BigEndian.AppendUint64(sshwire.AppendString(nil, f.handle), f.offset)
	r, err := f.client.ask(fxpRead, binary.BigEndian.AppendUint32(body, uint32(want)), fxpData)
	if err != nil {
		return 0, f.failed("read", err)
	}
	data := r.String()
	if r.Err() != nil || len(data) == 0 || len(data) > want {
		return 0, f.failed("read", errors.New("the server sends no data, or too much"))
	}
	f.offset += uint64(len(data))
	return copy(p, data), nil
}

func (f *file) failed(op string, err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

// ReadDir implements fs.ReadDirFile.
func (f *file) ReadDir(n int) ([]fs.DirEntry, error) {
	if err := f.open(fxpOpendir, text("/"+f.name)); err != nil {
		return nil, f.failed("readdir", err)
	}
	var all []fs.DirEntry
	for n <= 0 || len(all) < n {
		if len(f.rest) == 0 {
			if err := f.more(); errors.Is(err, io.EOF) {
				if n > 0 && len(all) == 0 {
					return nil, io.EOF
				}
				return all, nil
			} else if err != nil {
				return all, f.failed("readdir", err)
			}
			continue
		}
		all, f.rest = append(all, f.rest[0]), f.rest[1:]
	}
	return all, nil
}

// more asks for the next entries.
func (f *file) more() error {
	r, err := f.client.ask(fxpReaddir, sshwire.AppendString(nil, f.handle), fxpName)
	if err != nil {
		return err
	}
	count := r.Uint32()
	if count == 0 {
		return errors.New("the server lists nothing, and does not end")
	}
	for range count {
		name := r.Text()
		r.String() // as ls -l has it
		info := readAttributes(r, name)
		if r.Err() != nil {
			return r.Err()
		}
		if name == "." || name == ".." {
			continue
		}
		if len(name) > maxName || !fs.ValidPath(name) || path.Base(name) != name {
			continue // no name of a file
		}
		f.rest = append(f.rest, fs.FileInfoToDirEntry(info))
	}
	return nil
}

// Close implements fs.File.
func (f *file) Close() error {
	if f.handle == nil {
		return nil
	}
	_, err := f.client.ask(fxpClose, sshwire.AppendString(nil, f.handle), fxpAttrs) // which never comes
	f.handle = nil
	var said statusError
	if errors.As(err, &said) && said == 0 {
		return nil
	}
	return err
}

// info is a server's description of a file.
type info struct {
	name string
	size int64
	mode uint32
	time uint32
}

// Flags of attributes (section 5 of the draft), and types of files (stat(2)).
const (
	hasSize   = 1
	hasOwner  = 2
	hasMode   = 4
	hasTimes  = 8
	hasOthers = 1 << 31

	typeMask  = 0o170000
	typeDir   = 0o040000
	typeLink  = 0o120000
	typePlain = 0o100000
)

func readAttributes(r *sshwire.Reader, name string) info {
	i := info{name: name}
	flags := r.Uint32()
	if flags&hasSize != 0 {
		i.size = int64(r.Uint64() & (1<<63 - 1))
	}
	if flags&hasOwner != 0 {
		r.Uint64()
	}
	if flags&hasMode != 0 {
		i.mode = r.Uint32()
	}
	if flags&hasTimes != 0 {
		r.Uint32()
		i.time = r.Uint32()
	}
	if flags&hasOthers != 0 {
		for n := r.Uint32(); n > 0 && r.Err() == nil; n-- {
			r.String()
			r.String()
		}
	}
	return i
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Unix(int64(i.time), 0) }
func (i info) IsDir() bool        { return i.Mode().IsDir() }
func (i info) Sys() any           { return nil }

// Mode implements fs.FileInfo. A file that is neither plain, nor a directory, nor a
// symbolic link is irregular.
func (i info) Mode() fs.FileMode {
	m := fs.FileMode(i.mode & 0o777)
	switch i.mode & typeMask {
	case typePlain:
		return m
	case typeDir:
		return m | fs.ModeDir
	case typeLink:
		return m | fs.ModeSymlink
	}
	return m | fs.ModeIrregular
}
