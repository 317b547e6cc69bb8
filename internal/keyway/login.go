package keyway

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxLoginName bounds a login name in bytes (LOGIN_NAME_MAX of Linux, less its end).
const maxLoginName = 255

// IsLoginName reports whether s can be a user's login name wherever keyway writes one: in
// ssh_config, in passwd(5) and on a command line. It may be a directory's, such as
// ada@corp.example.com, CORP\ada or CORP+ada. Characters that one of those would read as
// more than a name are refused: blanks, quotes, controls, marks of a shell, tokens of ssh_config(5),
// and a backslash that could hide the byte after it.
func IsLoginName(s string) bool {
	for i, r := range s {
		word := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r >= utf8.RuneSelf && strconv.IsPrint(r)
		if !word && (i == 0 || r >= utf8.RuneSelf || strings.IndexByte(`.-+@\`, byte(r)) < 0) || r == utf8.RuneError {
			return false
		}
		if r == '\\' && (i == len(s)-1 || s[i+1] == '\\') {
			return false
		}
	}
	return s != "" && len(s) <= maxLoginName
}

// NoSuchUser returns the error for a machine whose OpenSSH has reported that it has no entry for
// the user; nil if said is another message.
func NoSuchUser(said string) *Error {
	const refusal = "No user exists for uid "
	_, uid, ok := strings.Cut(said, refusal)
	uid, _, _ = strings.Cut(uid, "\n")
	if _, err := strconv.ParseUint(strings.TrimSpace(uid), 10, 32); !ok || err != nil {
		return nil
	}
	uid = strings.TrimSpace(uid)
	return Errorf(BadConfig, "this machine has no user with the uid %s, and OpenSSH runs for nobody else", uid).
		Hint("have its administrator make one: useradd -u %s -m ada\nin a container: run it as a user of its image, or make one there", uid)
}
