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

// Account is who people are inside the workspace: the user the guest runs as.
// The zero Account has no shell and no home and can log nobody in.
type Account struct {
	Name  string
	UID   int
	Home  string
	Shell string // empty: the image has none
	Start string // directory that shells, commands and sftp start in
}

// shells are tried in this order when passwd names none that runs.
var shells = []string{"/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh", "/bin/ash", "/bin/zsh", "/busybox/sh"}

// accountFacts is what an Account is made from.
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

// newAccount finds out who the user is and makes up what the image does not
// say: images are run with uids they have never heard of.
func newAccount(f accountFacts) Account {
	entries := f.passwd()
	entry, known := findUID(entries, f.uid)
	shells := []string{entry.shell, f.env("SHELL")}
	if login := f.loginName(entries); login != "" && f.keyway != keyway.GuestHome {
		// The workspace is a login on a machine. A directory may know its user, and not
		// passwd; and passwd may have other names for the uid.
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

// shell is the user's own if it can be run, else the first there is.
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
	case "nologin", "false", "true": // say that the user is not meant to log in; this one is
		return false
	}
	return filepath.IsAbs(path) && isExecutable(filepath.Join(f.root, path))
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && unix.Access(path, unix.X_OK) == nil
}

// home is the first directory the user can write to: editors and tools that
// people bring along install themselves there. $HOME comes first because it is
// what the engine or the template asked for. The last resort always works: it
// lies among the guest's own files, where no other user can have made it.
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

// inventName is a name for a user whom passwd does not know and that it does
// not give to somebody else.
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

// loginName is what the environment calls the user; empty where it says nothing that
// can be true: passwd gives that name to another uid, or knows no such name of uid 0.
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

// addPasswd writes the made up user into the image's passwd where that is
// possible: ssh, git and whoami refuse to work for a uid without a name. Only a
// container's file is touched, never that of a machine. Where it cannot be
// written $USER and $HOME have to do.
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
