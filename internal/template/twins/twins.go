// Package twins finds requests of a service of a Compose file that exclude one another, such as two
// mounts at one target or two values of one variable. Compose silently takes the last and drops the
// others.
package twins

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"keyway/internal/keyway"
)

// Item is a value of a service that only one may have.
type Item struct {
	Field string
	Index int    // in the list that Field is; -1: it is none
	Claim string // what only one may have, for people: the target /data
}

// Items returns the claims of a service, as they are written and with their variables filled in. A
// value with an invalid form claims nothing.
func Items(service map[string]any) (all []Item) {
	for _, list := range lists {
		items, isList := service[list.field].([]any)
		if text, one := service[list.field].(string); one {
			items = []any{text}
		}
		for i, item := range items {
			if !isList {
				i = -1
			}
			if claim := list.claim(item); claim != "" {
				all = append(all, Item{list.field, i, list.what + claim})
			}
		}
	}
	if secrets, _ := service["secrets"].([]any); len(secrets) > 0 {
		all = append(all, Item{"secrets", -1, target + keyway.SecretsDir})
	}
	if service["shm_size"] != nil {
		all = append(all, Item{"shm_size", -1, target + keyway.ShmDir})
	}
	return all
}

const target = "the target "

// lists has the fields whose items claim something, with a function that returns the claim; empty
// if it cannot be determined.
var lists = []struct {
	field, what string
	claim       func(item any) string
}{
	{"volumes", target, volume}, {"tmpfs", target, tmpfs}, {"secrets", target, secret},
	{"devices", "the device ", device}, {"environment", "the variable ", name}, {"labels", "the label ", name},
	{"security_opt", "the option ", option}, {"cap_add", "the capability ", capability}, {"env_file", "the file ", envFile},
	{"ports", "the port ", port}, {"expose", "the exposed port ", port},
}

// text returns an item that is a text, or the first of these fields of a mapping that has one.
func text(item any, fields ...string) string {
	if s, ok := item.(string); ok {
		return s
	}
	m, _ := item.(map[string]any)
	for _, name := range fields {
		if s, _ := m[name].(string); s != "" {
			return s
		}
	}
	return ""
}

// clean is a path in its shortest form; empty: none.
func clean(p string) string {
	if p == "" {
		return ""
	}
	return path.Clean(p)
}

// inside returns the path in the workspace of SOURCE:TARGET:OPTIONS, or of a path alone.
func inside(s string) string {
	parts := strings.SplitN(s, ":", 3)
	return clean(parts[min(1, len(parts)-1)])
}

func volume(item any) string {
	s, short := item.(string)
	if !short {
		return clean(text(item, "target"))
	}
	if len(s) > 2 && s[1] == ':' && strings.Count(s, ":") > 1 && unicode.IsLetter(rune(s[0])) { // compose-go takes a letter for a drive of Windows
		s = s[2:]
	}
	return inside(s)
}

func tmpfs(item any) string {
	dir, _, _ := strings.Cut(text(item), ":")
	return clean(dir)
}

func secret(item any) string {
	if s := text(item, "target", "source"); s == "" || path.IsAbs(s) {
		return clean(s)
	} else {
		return path.Join(keyway.SecretsDir, s)
	}
}

func device(item any) string {
	s, short := item.(string)
	if !short {
		return clean(text(item, "target", "source"))
	}
	if strings.Contains(s, "=") { // a name of CDI's
		return s
	}
	return inside(s)
}

func name(item any) string {
	name, _, _ := strings.Cut(text(item), "=")
	return name
}

func option(item any) string {
	name, _, _ := strings.Cut(strings.ReplaceAll(text(item), "=", ":"), ":")
	return name
}

func capability(item any) string {
	c, _ := keyway.ParseCapability(text(item))
	return c
}

func envFile(item any) string { return clean(text(item, "path")) }

// port returns the whole item as the claim: one port of the workspace may be published at several
// ports of the host.
func port(item any) string {
	m, long := item.(map[string]any)
	if !long {
		return fmt.Sprint(item)
	}
	var parts []string
	for k, v := range m {
		parts = append(parts, fmt.Sprintf("%s: %v", k, v))
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, ", ") + "}"
}
