package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
)

// Bounds of a policy file.
const (
	maxFile     = 256 << 10 // bytes
	maxRules    = 1000
	maxPatterns = 100 // in one field of a rule
	maxPattern  = 512 // bytes
)

// file mirrors policy.yaml.
type file struct {
	Preset   string     `yaml:"preset"`
	Upstream string     `yaml:"upstream"`
	Forget   words      `yaml:"forget"`
	Rules    []fileRule `yaml:"rules"`
}

type fileRule struct {
	Name  string `yaml:"name"`
	Allow words  `yaml:"allow"`
	Ask   words  `yaml:"ask"`
	Deny  words  `yaml:"deny"`
	From  words  `yaml:"from"`
	To    words  `yaml:"to"`
	User  words  `yaml:"user"`
	Key   words  `yaml:"key"`
	// Program is for rules about sessions: a path of the program that asks, or of one that started
	// it.
	Program words  `yaml:"program"`
	Days    words  `yaml:"days"`
	Hours   string `yaml:"hours"`
}

// words is one word or a list of them.
type words []string

// UnmarshalYAML refuses an empty list: it would match nothing, and its author may have meant
// everything.
func (w *words) UnmarshalYAML(n *yaml.Node) error {
	list := []string{}
	if n.Kind == yaml.SequenceNode {
		if err := n.Decode(&list); err != nil {
			return err
		}
	} else {
		var one string
		if err := n.Decode(&one); err != nil {
			return err
		}
		list = append(list, one)
	}
	if len(list) == 0 || len(list) > maxPatterns {
		return fmt.Errorf("line %d: a list needs 1 to %d words; leave the field out if it does not matter", n.Line, maxPatterns)
	}
	for _, word := range list {
		if word == "" || len(word) > maxPattern {
			return fmt.Errorf("line %d: a word needs 1 to %d bytes", n.Line, maxPattern)
		}
	}
	*w = list
	return nil
}

// Read reads the policy file at path; no file means Standard. A file that cannot
// be read or is wrong is an error and no policy: nothing must ever be allowed
// because a rule could not be understood.
func Read(path string) (*Policy, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return Standard(), nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	p, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Open is Read with errors for the user.
func Open(path string) (*Policy, error) {
	p, err := Read(path)
	if err != nil {
		return nil, keyway.Errorf(keyway.BadConfig, "the policy is wrong: %w", err).Advise(keyway.CheckPolicy)
	}
	return p, nil
}

// Named returns the name for people of the policy that Read takes for path.
func Named(path string) string {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return "the standard one; there is no " + path
	}
	return path
}

// Parse reads a policy file. Every error names its line.
func Parse(data []byte) (*Policy, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("the policy is over %d bytes", maxFile)
	}
	var f file
	if err := decode(data, &f); err != nil {
		return nil, err
	}
	if err := checkValues(data); err != nil {
		return nil, err
	}
	p := &Policy{upstream: f.Upstream}
	switch f.Preset {
	case "", "standard":
		p.preset = standard
	case "openssh":
		p.preset = openSSH
	default:
		return nil, fmt.Errorf("line %d: there is no preset %q, only standard and openssh", lineOf(data, "preset", -1), f.Preset)
	}
	if !isPath(f.Upstream) {
		return nil, fmt.Errorf("line %d: upstream takes the whole path of a socket, or one that begins with ~/", lineOf(data, "upstream", -1))
	}
	if f.Forget != nil {
		var err error
		if p.forget, err = ParseForget(f.Forget); err != nil {
			return nil, fmt.Errorf("line %d: %w", lineOf(data, "forget", -1), err)
		}
	}
	if len(f.Rules) > maxRules {
		return nil, fmt.Errorf("there are %d rules, more than %d", len(f.Rules), maxRules)
	}
	for i, fr := range f.Rules {
		line := lineOf(data, "rules", i)
		r, err := fr.compile()
		if err != nil {
			return nil, fmt.Errorf("line %d: rule %d: %w", line, i+1, err)
		}
		r.number, r.line, r.trustsAny = i+1, line, p.preset == openSSH
		p.rules = append(p.rules, r)
	}
	return p, nil
}

// isPath reports whether s is empty, absolute, or below the user's home directory.
func isPath(s string) bool {
	return s == "" || len(s) <= maxPattern && (filepath.IsAbs(s) || strings.HasPrefix(s, "~/"))
}

var goType = lazyregexp.New(` (not found in|into|already set in) (type )?[a-zA-Z.\[\]]+`)

// decode is yaml's decoder, strict and with its words for Go programmers
// replaced.
func decode(data []byte, f *file) error {
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	err := d.Decode(f)
	if errors.Is(err, io.EOF) {
		return nil // an empty file has no rules
	}
	var typed *yaml.TypeError
	if errors.As(err, &typed) && len(typed.Errors) > 0 {
		return errors.New(goType.ReplaceAllString(typed.Errors[0], " does not belong here"))
	}
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one YAML document in the file")
	}
	return nil
}

// checkValues refuses a field without a value: the decoder takes it for a field
// that was not written, and a rule would match more than it seems to.
func checkValues(data []byte) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return noBlank(&doc)
}

// noBlank refuses a value that is missing, empty or framed by blanks: as the value of a
// field it would match everything, or nothing.
func noBlank(n *yaml.Node) error {
	for _, child := range n.Content {
		if child.Kind == yaml.ScalarNode {
			switch bare := strings.TrimSpace(child.Value); {
			case child.Tag == "!!null" || bare == "":
				return fmt.Errorf("line %d: a value is missing; leave the field out if it does not matter", child.Line)
			case bare != child.Value:
				return fmt.Errorf("line %d: %q begins or ends with a blank", child.Line, child.Value)
			}
		}
		if err := noBlank(child); err != nil {
			return err
		}
	}
	return nil
}

// lineOf returns the line of a top-level field, or of one item in its list. The
// strict decoder does not keep lines, so they are looked up when needed.
func lineOf(data []byte, field string, item int) int {
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 {
		return 0
	}
	top := doc.Content[0]
	for i := 0; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value != field {
			continue
		}
		value := top.Content[i+1]
		if item < 0 {
			return value.Line
		}
		if item < len(value.Content) {
			return value.Content[item].Line
		}
	}
	return 0
}

func (fr fileRule) compile() (rule, error) {
	r := rule{name: fr.Name, from: fr.From, to: fr.To, users: fr.User, keys: fr.Key, programs: fr.Program}
	verdicts := 0
	for _, v := range []struct {
		verdict Verdict
		words   words
	}{{Allow, fr.Allow}, {Ask, fr.Ask}, {Deny, fr.Deny}} {
		if v.words != nil {
			verdicts++
			r.verdict, r.purposes = v.verdict, v.words
		}
	}
	if verdicts != 1 {
		return rule{}, errors.New("it needs exactly one of allow, ask and deny, with what it is about: login, session, git, sign:NAMESPACE, data or any")
	}
	if err := checkPurposes(r.purposes); err != nil {
		return rule{}, err
	}
	if fr.Program != nil && !slices.Equal(r.purposes, []string{"session"}) {
		return rule{}, errors.New("program is for rules about sessions alone, where it is known which program asks")
	}
	if err := checkHosts(fr.From, "local", "remote"); err != nil {
		return rule{}, err
	}
	if err := checkHosts(fr.To); err != nil {
		return rule{}, err
	}
	var err error
	if r.days, err = parseDays(fr.Days); err != nil {
		return rule{}, err
	}
	r.always = fr.Hours == ""
	if !r.always {
		r.start, r.end, err = parseHours(fr.Hours)
	}
	return r, err
}

func checkPurposes(list []string) error {
	for _, p := range list {
		switch p {
		case "login", "session", "git", "data", "any":
			continue
		}
		if ns, ok := strings.CutPrefix(p, "sign:"); !ok || ns == "" {
			return fmt.Errorf("there is no purpose %q, only login, session, git, sign:NAMESPACE, data and any", p)
		}
	}
	return nil
}

// checkHosts refuses words that look like something special and are not: a
// misspelt group would silently match no host.
func checkHosts(list []string, special ...string) error {
	for _, p := range list {
		switch group, isGroup := strings.CutPrefix(p, "@"); {
		case slices.Contains(special, p), isGroup && (group == GroupWorkspaces || group == GroupGit):
		case isGroup:
			return fmt.Errorf("there is no group %q, only @%s and @%s", p, GroupWorkspaces, GroupGit)
		case p == "local" || p == "remote":
			return fmt.Errorf("%q is where an asker is; it belongs in from", p)
		case strings.HasPrefix(p, "SHA256:") && len(p) != len("SHA256:")+43:
			return fmt.Errorf("%q is not a whole fingerprint, as ssh-keygen -l prints it", p)
		}
	}
	return nil
}

var weekdays = map[string]time.Weekday{
	"sun": time.Sunday, "mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday,
	"thu": time.Thursday, "fri": time.Friday, "sat": time.Saturday,
}

// parseDays reads days such as mon or mon-fri.
func parseDays(list []string) ([]time.Weekday, error) {
	var days []time.Weekday
	for _, word := range list {
		first, last, isRange := strings.Cut(word, "-")
		if !isRange {
			last = first
		}
		a, ok1 := weekdays[first]
		b, ok2 := weekdays[last]
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("%q is not a day; write mon, tue, wed, thu, fri, sat, sun or mon-fri", word)
		}
		for d := a; ; d = (d + 1) % 7 {
			days = append(days, d)
			if d == b {
				break
			}
		}
	}
	return days, nil
}

// parseHours reads hours such as 08:00-18:30, which may go over midnight.
func parseHours(s string) (start, end clock, err error) {
	from, to, ok := strings.Cut(s, "-")
	t1, err1 := time.Parse("15:04", strings.TrimSpace(from))
	t2, err2 := time.Parse("15:04", strings.TrimSpace(to))
	if !ok || err1 != nil || err2 != nil || t1.Equal(t2) {
		return 0, 0, fmt.Errorf("%q are not hours; write them as 08:00-18:30", s)
	}
	return clock(t1.Hour()*60 + t1.Minute()), clock(t2.Hour()*60 + t2.Minute()), nil
}
