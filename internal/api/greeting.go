package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"keyway/internal/keyway"
)

// Versions are the versions of the protocol that a program speaks, from the lowest to the highest.
type Versions struct{ Lowest, Highest int }

// Spoken are the versions that this program speaks. A version is removed only when no program is
// left that speaks none above it.
var Spoken = Versions{Lowest: 1, Highest: 1}

// Common returns the highest version that both speak, or 0 if there is none.
func (v Versions) Common(other Versions) int {
	common := min(v.Highest, other.Highest)
	if common < max(v.Lowest, other.Lowest) {
		return 0
	}
	return common
}

// has reports whether version is in v.
func (v Versions) has(version int) bool { return v.Lowest <= version && version <= v.Highest }

func (v Versions) String() string {
	if v.Lowest == v.Highest {
		return strconv.Itoa(v.Highest)
	}
	return fmt.Sprintf("%d to %d", v.Lowest, v.Highest)
}

// GreetingWord begins a greeting.
const GreetingWord = "keyway-node"

// Greeting returns the line that a node writes before it speaks HTTP/2: its lowest protocol
// version, its program's version, and its highest protocol version. Programs of version 1 from
// before there were ranges read the lowest as the only one.
func Greeting() string { return greeting(Spoken, keyway.Version) }

func greeting(spoken Versions, program string) string {
	program = strings.Join(strings.Fields(program), "_") // a word has no space
	return fmt.Sprintf("%s %d %s %s%d\n", GreetingWord, spoken.Lowest, program, upTo, spoken.Highest)
}

// upTo comes before the highest version in a greeting.
const upTo = "<="

// maxVersion bounds a version, so that none overflows.
const maxVersion = 1 << 20

// ParseGreeting parses a greeting without its first word and its end of line. Without a highest
// version, the lowest is the only one. Further words are reserved for future programs.
func ParseGreeting(text string) (spoken Versions, program string, err error) {
	words := strings.Split(text, " ")
	if len(words) > 1 {
		program = words[1]
	}
	highest := words[0]
	if len(words) > 2 && strings.HasPrefix(words[2], upTo) {
		highest = strings.TrimPrefix(words[2], upTo)
	}
	lowest, okLowest := parseVersion(words[0])
	top, okHighest := parseVersion(highest)
	if !okLowest || !okHighest || lowest > top {
		return Versions{}, program, fmt.Errorf("%.100q is not the greeting of a node", text)
	}
	return Versions{lowest, top}, program, nil
}

// parseVersion parses a version in the form of Greeting: from 1 on, without a sign or leading
// zeros.
func parseVersion(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 1 && n <= maxVersion && strconv.Itoa(n) == text
}

// versionHeader names the version of a request, which the link has chosen. Requests of version 1
// need none.
const versionHeader = "Keyway-Protocol"

// Speaking returns c over a connection whose ends have agreed on that version.
func (c *Client) Speaking(version int) *Client {
	with := *c
	with.version = version
	return &with
}

// versioned serves requests of the versions in spoken and refuses others.
func versioned(spoken Versions, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := r.Header.Get(versionHeader)
		if text == "" {
			text = "1"
		}
		version, ok := parseVersion(text)
		if !ok || !spoken.has(version) {
			WriteError(w, keyway.Errorf(keyway.VersionMismatch, "this node (%s) speaks protocol %s, the request is of %.20q", keyway.Version, spoken, text).
				Hint("use the same version of keyway at both ends"))
			return
		}
		h.ServeHTTP(w, r)
	})
}
