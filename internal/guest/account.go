//go:build linux

package guest

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// Account is the user that the guest and its sessions run as. The zero Account has no shell and no
// home directory, and refuses every login.
type Account struct {
	Name  string
	UID   int
	Home  string
	Shell string // empty: the image has none
	Start string // directory that shells, commands and sftp start in
}

// shells are tried in this order when passwd names none that runs.
var shells = []string{"/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh", "/bin/ash", "/bin/zsh", "/busybox/sh"}

// accountFacts are the facts from which an Account is made.
type accountFacts struct {
	root     string // where the image's files are: "/" except in tests
	uid, gid int
	env      func(string) string
	workdir  string      // where the guest was started
	keyway   keyway.Home // of the workspace
}

func processFacts(home keyway.Home) accountFacts {
	workdir, err := os.Getwd()
	if err != nil {
		workdir = "/"
	}
	return accountFacts{root: "/", uid: os.Getuid(), gid: os.Getgid(), env: os.Getenv, workdir: workdir, keyway: home}
}

// newAccount finds the user's entry in passwd and completes it: images run with uids that their
// passwd does not have.
func newAccount(f accountFacts) Account {
	entries := f.passwd()
	entry, known := findUID(entries, f.uid)
	shells := []string{entry.shell, f.env("SHELL")}
	if login := f.loginName(entries); login != "" && f.keyway != keyway.GuestHome {
		// On a plain machine, a login is the account. Its name may come from a directory
		// service instead of passwd, and passwd may have other names for the uid.
		entry.name, known = login, true
		slices.Reverse(shells)
	}
	a := Account{Name: entry.name, UID: f.uid, Shell: f.shell(shells...), Home: f.home(entry.home)}
	if !known {
		a.Name = f.inventName(entries)
		f.addPasswd(a)
	}
	a.Start = a.Home
	if f.workdir != "/" && unix.Access(f.workdir, unix.R_OK|unix.X_OK) == nil {
		a.Start = f.workdir
	}
	return a
}

func (f accountFacts) passwd() []passwdEntry {
	data, err := readBounded(filepath.Join(f.root, "etc/passwd"), maxPasswd)
	if err != nil {
		return nil
	}
	return parsePasswd(data)
}

func findUID(entries []passwdEntry, uid int) (passwdEntry, bool) {
	i := slices.IndexFunc(entries, func(e passwdEntry) bool { return e.uid == uid })
	if i < 0 {
		return passwdEntry{}, false
	}
	return entries[i], true
}

// shell returns the user's own shell if it can be run, otherwise the first of shells that
// can.
func (f accountFacts) shell(own ...string) string {
	for _, path := range append(own, shells...) {
		if f.isShell(path) {
			return path
		}
	}
	return ""
}

func (f accountFacts) isShell(path string) bool {
	switch filepath.Base(path) {
	case "nologin", "false", "true": // they mark accounts that must not log in; this one must
		return false
	}
	return filepath.IsAbs(path) && isExecutable(filepath.Join(f.root, path))
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && unix.Access(path, unix.X_OK) == nil
}

// home returns the first directory that the user can write to, because editors and other
// tools install themselves there. $HOME comes first: the engine or the template set it. The
// last resort always works: it is among the guest's own files, where no other user can have
// made it.
func (f accountFacts) home(own string) string {
	for _, dir := range []string{f.env("HOME"), own, f.workdir} {
		if dir != "" && filepath.Clean(dir) != "/" && f.isUsable(dir) {
			return filepath.Clean(dir)
		}
	}
	if made := f.keyway.UserHome(); ownDir(made) == nil {
		return made
	}
	return "/"
}

func (f accountFacts) isUsable(dir string) bool {
	if !filepath.IsAbs(dir) {
		return false
	}
	path := filepath.Join(f.root, dir)
	info, err := os.Stat(path)
	return err == nil && info.IsDir() && unix.Access(path, unix.R_OK|unix.W_OK|unix.X_OK) == nil
}

// inventName makes up a name for a user that passwd does not list. No other entry of passwd
// has the name.
func (f accountFacts) inventName(entries []passwdEntry) string {
	own := f.loginName(entries)
	if f.uid == 0 {
		own = "root"
	}
	for _, name := range []string{own, "keyway"} {
		if name != "" && indexName(entries, name) < 0 {
			return name
		}
	}
	return "keyway" + strconv.Itoa(f.uid)
}

// loginName returns the user's name in the environment. It is empty if there is none, or if passwd
// disproves it: passwd gives the name to another uid, or the uid is 0 and passwd does not have the
// name.
func (f accountFacts) loginName(entries []passwdEntry) string {
	for _, name := range []string{f.env("USER"), f.env("LOGNAME")} {
		i := indexName(entries, name)
		if keyway.IsLoginName(name) && (i < 0 && f.uid != 0 || i >= 0 && entries[i].uid == f.uid) {
			return name
		}
	}
	return ""
}

func indexName(entries []passwdEntry, name string) int {
	for i := range entries {
		if entries[i].name == name {
			return i
		}
	}
	return -1
}

// addPasswd adds an invented user to the image's passwd, if it is writable: ssh, git and
// whoami refuse to work for a uid without a name. It changes only a container's file, never
// a machine's. Where it cannot write, $USER and $HOME must suffice.
func (f accountFacts) addPasswd(a Account) {
	if f.keyway != keyway.GuestHome {
		return
	}
	shell := a.Shell
	if shell == "" {
		shell = "/sbin/nologin"
	}
	// An image without a passwd gets one, if it has an /etc.
	file, err := os.OpenFile(filepath.Join(f.root, "etc/passwd"), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return
	}
	defer file.Close()
	line := passwdEntry{name: a.Name, uid: a.UID, home: a.Home, shell: shell}.line(f.gid)
	if info, err := file.Stat(); err == nil && info.Size() > 0 && !endsInNewline(file, info.Size()) {
		line = "\n" + line
	}
	_, _ = file.WriteString(line)
}

func endsInNewline(file *os.File, size int64) bool {
	var last [1]byte
	_, err := file.ReadAt(last[:], size-1)
	return err == nil && last[0] == '\n'
}
