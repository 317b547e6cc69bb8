package sshconfig

import (
	"path/filepath"
	"strings"
)

// configText is an ssh_config as its lines, each with its line end: joined they
// are the file again.
type configText struct {
	lines []string
}

func parseConfig(data []byte) configText {
	var t configText
	for l := range strings.Lines(string(data)) {
		t.lines = append(t.lines, l)
	}
	return t
}

// includeState is the way in which a file includes keyway's.
type includeState int

const (
	notIncluded includeState = iota
	// includedLate: below a Host or Match line, where ssh reads it only for those
	// hosts, or below a setting, which wins because ssh takes the first value.
	includedLate
	// includedFirst: above all that could matter. Other Include lines may come
	// before it: every tool that adds one says that it must be at the top, and two
	// such tools would take turns moving theirs up.
	includedFirst
)

// find looks for the first line that includes path.
func (t configText) find(home, path string) (line int, state includeState) {
	first := true
	for i, l := range t.lines {
		d := parseDirective(l)
		switch {
		case d.includes(home, path):
			if first {
				return i, includedFirst
			}
			return i, includedLate
		case d.keyword != "" && d.keyword != "include" && d.keyword != "ignoreunknown":
			first = false
		}
	}
	return 0, notIncluded
}

// edits returns the edits that remove the lines that include path alone, and that insert first, if
// it is not empty, before all other lines. An inserted line has the line end of the others: ssh
// accepts Windows line ends, but a file with both kinds confuses editors.
func (t configText) edits(home, path, first string) []edit {
	var edits []edit
	if first != "" {
		end := "\n"
		if len(t.lines) > 0 && strings.HasSuffix(t.lines[0], "\r\n") {
			end = "\r\n"
		}
		edits = append(edits, edit{'+', first + end})
	}
	for _, l := range t.lines {
		op := byte(' ')
		if d := parseDirective(l); len(d.args) == 1 && d.includes(home, path) {
			op = '-'
		}
		edits = append(edits, edit{op, l})
	}
	return edits
}

// directive is a line of an ssh_config; it is empty for blank lines and
// comments.
type directive struct {
	keyword string // lower case
	args    []string
}

// parseDirective reads a line as ssh_config(5) has it: keyword, then arguments
// after blanks or one '=', with double quotes around those that have blanks.
func parseDirective(line string) directive {
	const blanks = " \t\r\n\f"
	line = strings.Trim(line, blanks)
	if line == "" || line[0] == '#' {
		return directive{}
	}
	end := strings.IndexAny(line, blanks+`="`)
	if end < 0 {
		return directive{keyword: strings.ToLower(line)}
	}
	rest := strings.TrimLeft(line[end:], blanks)
	rest = strings.TrimPrefix(rest, "=")
	return directive{keyword: strings.ToLower(line[:end]), args: splitArgs(rest)}
}

// splitArgs splits at blanks outside of quotes and ends at a comment.
func splitArgs(s string) []string {
	var args []string
	var word strings.Builder
	var quote byte
	inWord := false
	flush := func() {
		if inWord {
			args = append(args, word.String())
			word.Reset()
			inWord = false
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && (strings.IndexByte(`"'\`, s[i+1]) >= 0 || quote == 0 && s[i+1] == ' '):
			i++
			word.WriteByte(s[i])
			inWord = true
		case quote == 0 && strings.IndexByte(" \t\f\r\n", c) >= 0:
			flush()
		case quote == 0 && !inWord && c == '#':
			return args
		case quote == 0 && (c == '"' || c == '\''):
			quote, inWord = c, true
		case quote != 0 && c == quote:
			quote = 0
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	flush()
	return args
}

// includes reports whether the directive makes ssh read the file at path. Relative
// paths are below ~/.ssh, and wildcards are expanded.
func (d directive) includes(home, path string) bool {
	if d.keyword != "include" {
		return false
	}
	path = filepath.ToSlash(path)
	for _, arg := range d.args {
		if rest, ok := strings.CutPrefix(arg, "~/"); ok {
			arg = filepath.Join(home, rest)
		} else if !filepath.IsAbs(arg) {
			arg = filepath.Join(home, ".ssh", arg)
		}
		arg = filepath.ToSlash(filepath.Clean(arg))
		if ok, err := filepath.Match(arg, path); arg == path || ok && err == nil {
			return true
		}
	}
	return false
}
