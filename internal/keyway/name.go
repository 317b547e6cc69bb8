package keyway

import (
	"strings"
	"unicode/utf8"
)

// Name is the name of a workspace or session. It is used as an ssh_config Host,
// a file name, a container name and a part of a URL, so it is the common subset
// of those: 1 to MaxName lower-case letters, digits, '.', '_' and '-', beginning
// with a letter or a digit.
type Name string

// MaxName bounds a name in bytes: container names and socket paths grow with it.
const MaxName = 48

// ParseName checks s. The error names the fault and offers a valid name.
func ParseName(s string) (Name, error) {
	if s == "" {
		return "", Errorf(Usage, "a name must not be empty").Advise(Example, "name", "train")
	}
	if len(s) > MaxName {
		return "", Errorf(Usage, "the name %q… is %d bytes long; at most %d are possible", s[:16], len(s), MaxName)
	}
	if suggestion := nearestName(s); suggestion != s {
		e := Errorf(Usage, "%q cannot be a name: only lower-case letters, digits, '.', '_' and '-', beginning with a letter or a digit", s)
		if suggestion != "" {
			e = e.Hint("for example: %s", suggestion)
		}
		return "", e
	}
	return Name(s), nil
}

// nearestName returns s with the characters that a name cannot have replaced or dropped. It returns
// s itself if and only if s is a name.
func nearestName(s string) string {
	if !utf8.ValidString(s) {
		return ""
	}
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		alnum := r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
		switch {
		case alnum:
			b.WriteRune(r)
		case b.Len() == 0: // must begin with a letter or digit
		case r == '.' || r == '_' || r == '-':
			b.WriteRune(r)
		case r == ' ' || r == '/' || r == ':':
			b.WriteByte('-')
		}
	}
	return b.String()
}

// Place names where workspaces run: Local, or a host that the user's ssh knows.
type Place string

// Local is the machine keyway runs on.
const Local Place = "local"

// maxPlace bounds a place's name in bytes (DNS names end at 253).
const maxPlace = 255

// ParsePlace checks s: it becomes an argument of ssh, so it must not look like
// an option nor hold blanks, control characters or shell syntax. Before the host may stand
// a login name, also a directory's: CORP\ada@gpu1.
func ParsePlace(s string) (Place, error) {
	if s == "" {
		return "", Errorf(Usage, "a place must not be empty").Hint("name a host of your ~/.ssh/config, or local")
	}
	if len(s) > maxPlace {
		return "", Errorf(Usage, "the place's name is %d bytes long; at most %d are possible", len(s), maxPlace)
	}
	user := max(strings.LastIndexByte(s, '@'), 0)
	if strings.Contains(s[:user], `\`) && !IsLoginName(s[:user]) {
		return "", Errorf(Usage, "%q cannot be a place: %q is not a login name", s, s[:user]).Hint("name a host of your ~/.ssh/config, or USER@HOST")
	}
	for i, r := range s {
		ok := r == '\\' && i < user || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			i > 0 && strings.ContainsRune("-", r) || strings.ContainsRune("._@:[]%+", r) || r > 127 && r != utf8.RuneError
		if !ok {
			return "", Errorf(Usage, "%q cannot be a place: %q is not possible in a host name", s, r).
				Hint("name a host of your ~/.ssh/config, or local")
		}
	}
	return Place(s), nil
}
