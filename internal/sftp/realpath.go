//go:build linux

package sftp

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks bounds the symbolic links that are followed in one path.
const maxLinks = 33

func (s *session) realpath(name string) (byte, error) {
	if name == "" {
		name = "."
	}
	resolved, err := realpath(name)
	if err != nil {
		return 0, err
	}
	s.out = appendName(s.out, resolved)
	return fxpName, nil
}

// realpath returns path without links, "." and "..", absolute. Its last element
// may be missing, also behind a link, so that clients can name a file before
// they make it.
func realpath(path string) (string, error) {
	if len(path) >= maxPath {
		return "", unix.ENAMETOOLONG
	}
	done := ""
	if !strings.HasPrefix(path, "/") {
		var err error
		if done, err = unix.Getwd(); err != nil {
			return "", err
		}
		done = strings.TrimRight(done, "/")
	}
	rest, links := path, 0
	for rest != "" {
		var element string
		var more bool
		element, rest, more = strings.Cut(rest, "/")
		switch element {
		case "", ".":
			continue
		case "..":
			done = parent(done)
			continue
		}
		next := done + "/" + element
		target, err := linkTarget(next)
		switch {
		case errors.Is(err, unix.ENOENT) && !more:
			return next, nil
		case err != nil:
			return "", err
		case target == "":
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", unix.ELOOP
		}
		if strings.HasPrefix(target, "/") {
			done = ""
		}
		if more {
			target = strings.TrimSuffix(target, "/") + "/" + rest
		}
		if rest = target; len(rest) >= maxPath {
			return "", unix.ENAMETOOLONG
		}
	}
	return orRoot(done), nil
}

// parent returns an absolute path without its last element; "" stands for "/".
func parent(path string) string {
	return path[:max(0, strings.LastIndexByte(path, '/'))]
}

func orRoot(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// linkTarget returns the target of a symbolic link, "" for any other file.
func linkTarget(path string) (string, error) {
	if len(path) >= maxPath {
		return "", unix.ENAMETOOLONG
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", nil
	}
	return readlink(path)
}
