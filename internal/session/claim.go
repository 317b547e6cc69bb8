//go:build linux

package session

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
)

// Claim is a new session's directory, locked for its future holder.
type Claim struct {
	Name keyway.Name
	Dir  string
	Lock *os.File // for the holder
	busy *os.File // lets others wait until the session has been started
}

// Abandon removes the claim.
func (c Claim) Abandon() {
	os.RemoveAll(c.Dir)
	c.Lock.Close()
	c.busy.Close()
}

// Settle passes the session to its holder.
func (c Claim) Settle() {
	os.Remove(c.busy.Name())
	c.Lock.Close()
	c.busy.Close()
}

// Create claims a name for a new session. With an empty name it makes one up
// from the command. The record of an ended session of that name is kept under
// NAME.1, NAME.2 and so on; the name of a living one is an error.
func (r Registry) Create(name keyway.Name, command []string) (Claim, error) {
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return Claim{}, AsNoSpace(err, r.Dir)
	}
	all, err := os.OpenFile(filepath.Join(r.Dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return Claim{}, AsNoSpace(err, r.Dir)
	}
	defer all.Close() // which unlocks
	if err := filelock.Wait(all, filelock.Exclusive); err != nil {
		return Claim{}, err
	}
	if name == "" {
		name, err = r.freeName(baseName(command), "-")
	} else {
		err = r.makeWay(name)
	}
	if err != nil {
		return Claim{}, err
	}
	return r.claim(name)
}

// makeWay moves the record of an ended session out of the way.
func (r Registry) makeWay(name keyway.Name) error {
	old, err := r.Load(name)
	switch {
	case keyway.Is(err, keyway.NotFound):
		return nil
	case err != nil:
		return err
	case old.Alive():
		return keyway.Errorf(keyway.NameTaken, "%s is already running", r.Show(name)).
			Advise(keyway.SeeOrEndSession, r.Show(name))
	case old.Status == Lost && old.Epoch == "":
		if _, err := os.Lstat(filepath.Join(old.Path, MetaName)); errors.Is(err, fs.ErrNotExist) {
			return os.RemoveAll(old.Path) // left by a start that failed half-way
		}
	}
	free, err := r.freeName(string(name), ".")
	if err != nil {
		return err
	}
	return os.Rename(old.Path, r.Path(free))
}

// freeName returns base, separator and the lowest number that is higher than all in use.
func (r Registry) freeName(base, separator string) (keyway.Name, error) {
	base = base[:min(len(base), keyway.MaxName-len(separator)-len(strconv.Itoa(maxSessions)))]
	entries, err := os.ReadDir(r.Dir)
	if err != nil {
		return "", err
	}
	if len(entries) > maxSessions {
		return "", keyway.Errorf(keyway.Other, "there are more than %d sessions on record", maxSessions).
			Advise(keyway.RemoveEnded)
	}
	highest := 0
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), base+separator)
		if n, err := strconv.Atoi(rest); ok && err == nil {
			highest = max(highest, n)
		}
	}
	return keyway.ParseName(fmt.Sprint(base, separator, highest+1))
}

// baseName derives the first part of a session's name from a command.
func baseName(command []string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(filepath.Base(command[0])) {
		alnum := r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
		if alnum || b.Len() > 0 && strings.ContainsRune("._-", r) {
			b.WriteRune(r)
		}
	}
	switch name := strings.TrimRight(b.String(), "._-"); name {
	case "", "sh", "bash", "dash", "zsh", "env":
		return "job"
	default:
		return name
	}
}

func (r Registry) claim(name keyway.Name) (Claim, error) {
	c := Claim{Name: name, Dir: r.Path(name)}
	if err := os.Mkdir(c.Dir, 0o700); err != nil {
		return Claim{}, AsNoSpace(err, r.Dir)
	}
	var err error
	if c.busy, err = lockedFile(filepath.Join(c.Dir, startName)); err == nil {
		c.Lock, err = lockedFile(filepath.Join(c.Dir, lockName))
	}
	if err != nil {
		c.Abandon()
		return Claim{}, AsNoSpace(err, r.Dir)
	}
	return c, nil
}

func lockedFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := filelock.Wait(f, filelock.Exclusive); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
