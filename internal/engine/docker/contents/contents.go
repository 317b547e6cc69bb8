// Package contents tells what the files of a container are: what is installed, and which
// files of the image are not as the image has them. What one container of an image has
// shown is true of the others, as far as their daemon tells of no change there.
package contents

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"keyway/internal/installed"
	"keyway/internal/keyway"
	sftp "keyway/internal/sftp/client"
)

// Bounds on what a container says of its files.
const (
	// maxSaid is how much it may say in all, in bytes. The names of a large image's
	// packages and dpkg's status take 4 MB.
	maxSaid = 256 << 20
	// maxHashed is how large a file may be whose content is compared; of larger ones it
	// is the size.
	maxHashed = 16 << 20
	// maxImages is how many images are remembered.
	maxImages = 64
)

// Container is what a daemon tells of a container.
type Container struct {
	Image   string   // the image's ID
	Env     []string // NAME=VALUE, of its programs
	Changes []keyway.FileChange
	Mounted []string // absolute paths at which something else than the image's files is
}

// Shown is what the files are.
type Shown struct {
	keyway.Software
	Files []keyway.FileChange // of the image that were changed, with their hashes
	More  int                 // how many more of those there are
}

// Images is what is installed in images, as containers have shown that changed nothing of
// it. The zero value knows of none.
type Images struct {
	mu  sync.Mutex
	all map[image]software
}

// image is an image, and where programs look for what is installed in it.
type image struct {
	id string
	installed.Where
}

type software struct {
	keyway.Software
	looked installed.Looked
}

// Of tells what the files of c are. open connects to an SFTP server in it, if there is
// anything to be asked; Of closes the connection.
func (k *Images) Of(c Container, open func() (io.ReadWriteCloser, error)) (shown Shown, err error) {
	changed := notable(c.Changes)
	known := false
	if shown.Software, known = k.known(c); known && len(changed) == 0 {
		return shown, nil
	}
	conn, err := open()
	if err != nil {
		return shown, err
	}
	defer conn.Close()
	files, err := sftp.New(conn, maxSaid)
	if err == nil && !known {
		shown.Software, err = k.read(c, files)
	}
	if err != nil {
		return shown, err
	}
	shown.Files, shown.More = hashed(changed, files)
	return shown, nil
}

// changes are those of c, as far as it matters whether files are what they were.
func (c Container) changes() []installed.Change {
	all := make([]installed.Change, len(c.Changes))
	for i, f := range c.Changes {
		all[i] = installed.Change{Path: f.Path, Modified: f.Change == keyway.ChangeModified}
	}
	return all
}

func (c Container) image() image { return image{c.Image, where(c.Env)} }

// known is what is installed in c, if another container of its image has shown that.
func (k *Images) known(c Container) (keyway.Software, bool) {
	k.mu.Lock()
	s, ok := k.all[c.image()]
	k.mu.Unlock()
	if !ok || !s.looked.Apart(c.changes(), c.Mounted) {
		return keyway.Software{}, false
	}
	return s.Software, true
}

// read looks at what is installed in c, and remembers it if it is the image's own.
func (k *Images) read(c Container, files *sftp.Client) (keyway.Software, error) {
	trace := installed.Follow(files)
	found, err := installed.Read(trace, where(c.Env))
	if err != nil {
		return found, err
	}
	looked, err := trace.Looked()
	if err != nil || !looked.Apart(c.changes(), c.Mounted) {
		return found, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil || len(k.all) >= maxImages {
		k.all = map[image]software{}
	}
	k.all[c.image()] = software{found, looked}
	return found, nil
}

// hashed are changed files with hashes of what is in them, and how many more there are
// than can be told of.
func hashed(changed []keyway.FileChange, files *sftp.Client) (told []keyway.FileChange, more int) {
	more = max(len(changed)-keyway.MaxFileChanges, 0)
	for _, c := range changed[:len(changed)-more] {
		if c.Change != keyway.ChangeDeleted {
			st, err := files.Lstat(strings.TrimPrefix(c.Path, "/"))
			if err == nil && st.IsDir() {
				continue // what is in it is listed itself
			}
			c.Hash = contentHash(files, st, strings.TrimPrefix(c.Path, "/"))
		}
		told = append(told, c)
	}
	return told, more
}

// where is where programs of a container look for what is installed.
func where(variables []string) installed.Where {
	env := map[string]string{}
	for _, kv := range variables {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	return installed.Where{Path: env["PATH"], PythonPath: env["PYTHONPATH"], Home: env["HOME"]}
}

// contentHash is one of what a file holds: of a large file, and of what is no file, of
// its size and kind.
func contentHash(files fs.FS, st fs.FileInfo, name string) string {
	if st == nil {
		return ""
	}
	h := sha256.New()
	data, err := installed.ReadFile(files, name, maxHashed)
	if err != nil || !st.Mode().IsRegular() {
		fmt.Fprint(h, st.Mode().Type(), st.Size())
	} else {
		_, _ = h.Write(data)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
