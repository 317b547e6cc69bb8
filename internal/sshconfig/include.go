package sshconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
)

// maxUserConfig bounds the user's ssh_config in bytes.
const maxUserConfig = 1 << 20

// Change is a change of the user's ssh_config. The zero Change does nothing.
type Change struct {
	// Path is the file as the user knows it, Target the one behind it if Path is a
	// symbolic link.
	Path, Target string
	// Why says in a sentence why the file is to be changed; empty if it is not.
	Why string

	include string // the file that is included
	old     []byte
	edits   []edit
	mode    os.FileMode
	absent  bool // there is no such file yet
}

// Needed reports whether there is anything to do.
func (c Change) Needed() bool { return c.Why != "" }

// Diff shows the change, fit to print.
func (c Change) Diff() string {
	if !c.Needed() {
		return ""
	}
	return diff(c.Path, c.edits)
}

// PlanInclude returns the change of home's ~/.ssh/config by which it includes the file at include
// before any other setting. The rest of the file stays unchanged, byte for byte.
func PlanInclude(home, include string) (Change, error) {
	if err := checkIncludable(include); err != nil {
		return Change{}, err
	}
	c, err := load(home, include)
	if err != nil {
		return Change{}, err
	}
	text := parseConfig(c.old)
	at, state := text.find(home, include)
	switch state {
	case includedFirst:
		return c, nil
	case includedLate:
		c.Why = fmt.Sprintf("line %d of %s includes keyway's hosts, but only after other settings, which would win", at+1, c.Path)
	case notIncluded:
		c.Why = fmt.Sprintf("%s does not include keyway's hosts yet", c.Path)
	}
	c.edits = text.edits(home, include, includeLine(include))
	return c, nil
}

// PlanRemoval returns the change that removes the Include line.
func PlanRemoval(home, include string) (Change, error) {
	c, err := load(home, include)
	if err != nil || c.absent {
		return Change{}, err
	}
	c.edits = parseConfig(c.old).edits(home, include, "")
	if slices.ContainsFunc(c.edits, func(e edit) bool { return e.op == '-' }) {
		c.Why = c.Path + " includes keyway's hosts"
	}
	return c, nil
}

// Apply makes the change. It refuses if the file has changed since the change was planned.
func (c Change) Apply() error {
	if !c.Needed() {
		return nil
	}
	unlock, err := filelock.Lock(filepath.Join(filepath.Dir(c.include), "include.lock"))
	if err != nil {
		return c.refuse("cannot be written", err)
	}
	defer unlock()
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o700); err != nil {
		return c.refuse("cannot be made", err)
	}
	now, err := readBounded(c.Target, maxUserConfig)
	if c.absent && errors.Is(err, fs.ErrNotExist) {
		now, err = c.old, nil
	}
	if err != nil {
		return c.refuse("cannot be read", err)
	}
	if !bytes.Equal(now, c.old) {
		return keyway.Errorf(keyway.BadConfig, "%s has changed in the meantime", c.Path).Hint("run the command once more")
	}
	if err := keyway.WriteFile(c.Target, result(c.edits), c.mode); err != nil {
		return c.refuse("cannot be written", err)
	}
	return nil
}

// load reads the user's ssh_config and refuses a file that must not be rewritten.
func load(home, include string) (Change, error) {
	path := filepath.Join(home, ".ssh", "config")
	c := Change{Path: path, Target: path, include: include, mode: 0o600}
	if st, err := os.Stat(filepath.Dir(path)); err == nil && !st.IsDir() {
		return c, c.refuse("cannot be made", fmt.Errorf("%s is not a directory", filepath.Dir(path)))
	}
	link, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		c.absent = true
		return c, nil
	}
	if err != nil {
		return c, c.refuse("cannot be read", err)
	}
	if link.Mode()&fs.ModeSymlink != 0 {
		if c.Target, err = filepath.EvalSymlinks(path); err != nil {
			return c, c.refuse("is a symbolic link to nowhere", err)
		}
	}
	st, err := os.Stat(c.Target)
	if err != nil {
		return c, c.refuse("cannot be read", err)
	}
	c.mode = st.Mode().Perm()
	if c.old, err = readBounded(c.Target, maxUserConfig); err != nil {
		return c, c.refuseUnread(err)
	}
	if err := checkText(c.Path, c.old); err != nil {
		return c, err
	}
	if err := checkWritable(c.Target, st); err != nil {
		return c, c.refuse("cannot be rewritten", err)
	}
	return c, nil
}

func (c Change) refuseUnread(err error) error {
	switch {
	case errors.Is(err, errNotRegular):
		return c.refuse("is not a regular file", err)
	case errors.Is(err, errTooLarge):
		return c.refuse(fmt.Sprintf("is larger than %d bytes, too large to be a configuration", maxUserConfig), err)
	}
	return c.refuse("cannot be read", err)
}

// refuse returns the error for a file that cannot be changed, with the line that the user can write
// there.
func (c Change) refuse(what string, err error) error {
	if keyway.Is(err, keyway.NoSpace) {
		return err
	}
	return keyway.Errorf(keyway.BadConfig, "%s %s: %w", c.Path, what, err).
		Hint("set that right, or put this line at its top yourself:\n%s", includeLine(c.include))
}

// checkText refuses files that ssh would read otherwise than the user means: lines that are added
// at their top would not help.
func checkText(path string, data []byte) error {
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) || bytes.IndexByte(data, 0) >= 0:
		return keyway.Errorf(keyway.BadConfig, "%s is not plain text (UTF-16, as some Windows programs save it?): ssh cannot read it", path).
			Hint("save it as UTF-8: iconv -f UTF-16 -t UTF-8 %[1]s > %[1]s.new && mv %[1]s.new %[1]s", path)
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return keyway.Errorf(keyway.BadConfig, "%s begins with a byte order mark, which ssh takes for a part of the first word", path).
			Hint("remove it: sed -i '1s/^\\xef\\xbb\\xbf//' %s", path)
	}
	return nil
}

// checkIncludable refuses paths that an Include line cannot name in every
// version of ssh: Include expands wildcards, and since OpenSSH 9.9 % and $.
func checkIncludable(path string) error {
	if !filepath.IsAbs(path) || hasControl(path) || strings.ContainsAny(filepath.ToSlash(path), `"\*?[]{}%$`) {
		return keyway.Errorf(keyway.BadConfig, "ssh_config cannot include a file at %q", path).
			Hint("choose a state directory with a plain name: export XDG_STATE_HOME=$HOME/.local/state")
	}
	return nil
}

func includeLine(path string) string { return `Include "` + filepath.ToSlash(path) + `"` }
