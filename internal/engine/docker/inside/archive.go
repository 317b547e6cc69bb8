package inside

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// OpenMode is the mode of a directory in which any user may make files and none may replace
// another's. The guest may have any uid; see engine.Homes.
const OpenMode = 0o1777

// A File is a file of an archive. Its Path is absolute.
type File struct {
	Path string
	Data []byte
}

// Archive returns an archive of files that all users may read.
func Archive(files ...File) ([]byte, error) {
	return archive(func(w *tar.Writer) error { return writeFiles(w, files) })
}

// DataArchive returns an archive with Home.Data, for a guest other than root.
func DataArchive() ([]byte, error) {
	return archive(func(w *tar.Writer) error { return writeDir(w, keyway.GuestHome.Data(), OpenMode) })
}

// HomeArchive returns an archive of the container's Home, with the guest program, the file of keys
// that may enter, and more.
func HomeArchive(guest engine.Guest, keys []byte, more ...File) ([]byte, error) {
	entries, err := os.ReadDir(guest.Dir)
	if err != nil {
		return nil, err
	}
	return archive(func(w *tar.Writer) error {
		bin := keyway.GuestHome.Bin()
		err := errors.Join(writeDir(w, string(keyway.GuestHome), OpenMode), writeDir(w, bin, 0o755),
			writeFiles(w, append(more, File{keyway.GuestHome.AuthorizedKeys(), keys})))
		for _, entry := range entries {
			if err == nil {
				err = writeEntry(w, filepath.Join(guest.Dir, entry.Name()), path.Join(bin, entry.Name()))
			}
		}
		return err
	})
}

// LeftArchive returns an archive that replaces everything at the container's Home by the files: a file in place of
// the directory makes a daemon remove that, also in a container that does not run.
func LeftArchive(files ...File) ([]byte, error) {
	return archive(func(w *tar.Writer) error {
		return errors.Join(writeFile(w, string(keyway.GuestHome), 0o644, nil), writeDir(w, string(keyway.GuestHome), OpenMode), writeFiles(w, files))
	})
}

func archive(fill func(*tar.Writer) error) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	err := fill(w)
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}

func writeEntry(w *tar.Writer, from, to string) error {
	if target, err := os.Readlink(from); err == nil {
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: entryName(to), Linkname: target, Mode: 0o777})
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return writeFile(w, to, 0o755, data)
}

// entryName returns the name of a path in an archive that is extracted at "/".
func entryName(p string) string { return strings.TrimPrefix(p, "/") }

func writeDir(w *tar.Writer, name string, mode int64) error {
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: entryName(name) + "/", Mode: mode})
}

func writeFiles(w *tar.Writer, files []File) error {
	for _, f := range files {
		if err := writeFile(w, f.Path, 0o644, f.Data); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(w *tar.Writer, name string, mode int64, data []byte) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: entryName(name), Mode: mode, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := io.Copy(w, bytes.NewReader(data))
	return err
}
