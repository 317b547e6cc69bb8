//go:build linux

package sftp

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
)

// maxPeople bounds /etc/passwd and /etc/group, which come with an image.
const maxPeople = 4 << 20

// people are the names that the machine has for users and groups.
type people struct {
	users, groups map[uint32]string
	homes         map[string]string // by user
}

// people reads them again: a client may stay for days.
func (s *session) people() *people {
	p := &people{users: map[uint32]string{}, groups: map[uint32]string{}, homes: map[string]string{}}
	for fields := range records("/etc/passwd", 7) {
		addName(p.users, fields)
		if _, taken := p.homes[fields[0]]; !taken {
			p.homes[fields[0]] = fields[5]
		}
	}
	for fields := range records("/etc/group", 4) {
		addName(p.groups, fields)
	}
	if _, known := p.homes[s.cfg.User]; !known && s.cfg.User != "" { // an image may never have heard of its user
		addName(p.users, []string{s.cfg.User, "", strconv.Itoa(os.Getuid())})
		p.homes[s.cfg.User] = s.cfg.Home
	}
	return p
}

// addName adds name:password:id, unless another user has the id already.
func addName(names map[uint32]string, fields []string) {
	id, err := strconv.ParseUint(fields[2], 10, 32)
	if _, taken := names[uint32(id)]; err == nil && !taken {
		names[uint32(id)] = fields[0]
	}
}

// records returns the lines of passwd(5) or group(5), as fields. It omits lines with another number
// of fields.
func records(path string, fields int) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		f, err := os.Open(path)
		if err != nil {
			return
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, maxPeople))
		if err != nil {
			return
		}
		for line := range bytes.Lines(data) {
			parts := strings.Split(strings.TrimRight(string(line), "\n"), ":")
			if len(parts) == fields && parts[0] != "" && !strings.ContainsAny(parts[0][:1], "#+-") && !yield(parts) {
				return
			}
		}
	}
}
