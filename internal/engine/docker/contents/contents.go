// Package contents describes the files of a container: the installed software, and the files of the
// image that have been changed. The result for one container of an image holds for others, if their
// daemon lists no change there.
package contents

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"keyway/internal/installed"
	"keyway/internal/keyway"
	sftp "keyway/internal/sftp/client"
)

// Bounds on the answers of a container about its files.
const (
	// maxSaid bounds all answers together, in bytes. The package names of a large image and dpkg's
	// status take 4 MB.
	maxSaid = 256 << 20
	// maxHashed bounds the size of a file whose content is hashed, and maxContent that of all of them.
	// For a file beyond, the size is compared.
	maxHashed  = 16 << 20
	maxContent = maxSaid / 4 * 3
	// maxImages bounds the images that are remembered.
	maxImages = 64
)

// Container is a daemon's description of a container.
type Container struct {
	Image   string   // the image's ID
	Env     []string // NAME=VALUE, of its programs
	Changes []keyway.FileChange
	Mounted []string // absolute paths of mounts, which hide the image's files
	Homes   []string // absolute paths that may be the home directory of its user
}

// Shown is the description of a container's files.
type Shown struct {
	keyway.Software
	Accounts []string            // as keyway.Environment has them
	Files    []keyway.FileChange // changed files of the image, with their hashes
	More     int                 // number of changed files beyond those
}

// Images remembers the software that is installed in images and their accounts, as found in containers
// that have not changed them. The zero value remembers none.
type Images struct {
	mu       sync.Mutex
	all      map[image]software
	accounts map[string][]string // by the image's ID
}

// image is an image together with the places in which programs look for installed software.
type image struct {
	id string
	installed.Where
}

type software struct {
	keyway.Software
	looked installed.Looked
	order  []string // of the image's PATH, where its links lead
}

// Of describes the files of c. If it must look into the container, it calls open to connect to an
// SFTP server there, and closes the connection.
func (k *Images) Of(c Container, open func() (io.ReadWriteCloser, error)) (shown Shown, err error) {
	changed := notable(c.Changes)
	of, known := k.known(c)
	shown.Software = of.Software
	var accounts bool
	if shown.Accounts, accounts = k.knownAccounts(c); known && accounts && len(changed) == 0 && !c.adds(of.order) {
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
	if !accounts {
		shown.Accounts = k.readAccounts(c, files)
	}
	hiding, unseen := c.hiding(files)
	shown.Files, shown.More = hashed(append(changed, hiding...), files, maxContent)
	shown.More += unseen
	return shown, files.Err()
}

// changes returns the changes of c that may affect installed software.
func (c Container) changes() []installed.Change {
	all := make([]installed.Change, len(c.Changes))
	for i, f := range c.Changes {
		all[i] = installed.Change{Path: f.Path, Modified: f.Change == keyway.ChangeModified}
	}
	return all
}

func (c Container) image() image { return image{c.Image, c.where()} }

// known returns the software that is installed in c, if another container of its image has shown
// it.
func (k *Images) known(c Container) (software, bool) {
	k.mu.Lock()
	s, ok := k.all[c.image()]
	k.mu.Unlock()
	if !ok || !s.looked.Apart(c.changes(), c.Mounted) {
		return software{}, false
	}
	return s, true
}

// read finds the software that is installed in c. It remembers it if it is the image's own.
func (k *Images) read(c Container, files *sftp.Client) (keyway.Software, error) {
	trace := installed.Follow(files)
	found, err := installed.Read(trace, c.where())
	if err != nil {
		return found, err
	}
	looked, err := trace.Looked()
	order := c.order(files)
	if err != nil || files.Err() != nil || !looked.Apart(c.changes(), c.Mounted) {
		return found, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil || len(k.all) >= maxImages {
		k.all = map[image]software{}
	}
	k.all[c.image()] = software{found, looked, order}
	return found, nil
}

// keepsAccounts reports whether c has the accounts of its image.
func (c Container) keepsAccounts() bool {
	return !c.changesAccounts() && !c.hides(accountFiles[0].path) && !c.hides(accountFiles[1].path)
}

// knownAccounts returns the accounts of c, if another container of its image has shown them.
func (k *Images) knownAccounts(c Container) ([]string, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all, ok := k.accounts[c.Image]
	return all, ok && c.keepsAccounts()
}

// readAccounts returns the accounts of c. It remembers them if they are the image's own.
func (k *Images) readAccounts(c Container, files *sftp.Client) []string {
	all := c.accounts(files)
	if c.keepsAccounts() && files.Err() == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.accounts == nil || len(k.accounts) >= maxImages {
			k.accounts = map[string][]string{}
		}
		k.accounts[c.Image] = all
	}
	return all
}

// hashed adds hashes of their content to changed files, of which it reads room bytes at most: small
// files first, so that no other file can make the hash of a small one that of its size. more is the
// number of files beyond the bound.
func hashed(changed []keyway.FileChange, files *sftp.Client, room int64) (told []keyway.FileChange, more int) {
	more = max(len(changed)-keyway.MaxFileChanges, 0)
	type file struct {
		fs.FileInfo
		at int // in told
	}
	var there []file
	for _, c := range changed[:len(changed)-more] {
		if c.Change != keyway.ChangeDeleted {
			st, err := files.Lstat(strings.TrimPrefix(c.Path, "/"))
			if err == nil && st.IsDir() {
				continue // its content is listed itself
			}
			if st != nil {
				there = append(there, file{st, len(told)})
			}
		}
		told = append(told, c)
	}
	slices.SortStableFunc(there, func(a, b file) int { return cmp.Compare(a.Size(), b.Size()) })
	for _, f := range there {
		c := &told[f.at]
		c.Hash = contentHash(files, f, strings.TrimPrefix(c.Path, "/"), min(room, maxHashed))
		room = max(room-f.Size(), 0)
	}
	return told, more
}

// where returns the places in which programs of a container look for installed software.
func (c Container) where() installed.Where {
	env := map[string]string{}
	for _, kv := range c.Env {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	return installed.Where{Path: env["PATH"], PythonPath: env["PYTHONPATH"], Home: strings.Join(c.Homes, ":")}
}

// contentHash returns the hash of a file's content. For a file of more than limit bytes, or one that
// is not regular, it is the hash of its size and kind.
func contentHash(files fs.FS, st fs.FileInfo, name string, limit int64) string {
	h := sha256.New()
	data, err := installed.ReadFile(files, name, limit)
	if err != nil || !st.Mode().IsRegular() {
		fmt.Fprint(h, st.Mode().Type(), st.Size())
	} else {
		_, _ = h.Write(data)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
