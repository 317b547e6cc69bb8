// Package account looks up the users of a machine, including those that only a directory service
// knows (SSSD, LDAP, winbind). Static programs cannot use the lookup of the C library, so Lookup
// asks getent, and reads /etc/passwd where there is no getent.
package account

import (
	"context"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"keyway/internal/keyway"
)

// Entry is a user's entry in passwd(5), or in a directory service instead. Unknown fields are
// empty.
type Entry struct{ Name, Home, Shell string }

const (
	// patience bounds how long a directory may take to answer.
	patience = 3 * time.Second
	// maxEntry bounds an entry in bytes.
	maxEntry = 16 << 10
)

// Lookup finds a user by number. It asks getent(1), which uses the sources that the machine is
// configured for. Without the C library, a program reads only /etc/passwd. That file is for
// machines that have no getent.
func Lookup(uid int) (Entry, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	number := strconv.Itoa(uid)
	if out, err := exec.CommandContext(ctx, "getent", "passwd", number).Output(); err == nil && len(out) <= maxEntry {
		return parse(string(out), number)
	}
	u, err := user.LookupId(number)
	if err != nil || !keyway.IsLoginName(u.Username) {
		return Entry{}, false
	}
	return Entry{Name: u.Username, Home: u.HomeDir}, true
}

// parse reads the one line of an entry: name, password, uid, gid, comment, home, shell. It refuses
// the entry of another user, and a text that cannot be a name or an absolute path.
func parse(line, uid string) (Entry, bool) {
	fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
	if len(fields) != 7 || fields[2] != uid || !keyway.IsLoginName(fields[0]) {
		return Entry{}, false
	}
	return Entry{Name: fields[0], Home: path(fields[5]), Shell: path(fields[6])}, true
}

func path(s string) string {
	if !filepath.IsAbs(s) || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return ""
	}
	return s
}
