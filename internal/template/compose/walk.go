package compose

import (
	"cmp"
	"strings"

	"go.yaml.in/yaml/v3"

	"keyway/internal/keyway"
	"keyway/internal/template/document"
	"keyway/internal/template/fields"
	"keyway/internal/template/variables"
)

// maxProblems bounds the problems of one template that are reported at once.
const maxProblems = 10

// walker collects the faults of a file's fields.
type walker struct {
	source
	lookup   func(string) (string, bool)
	filler   variables.Filler // bounds the text of all values together
	unused   bool             // no service that counts uses what is walked
	problems []*keyway.Error
}

func (w *walker) add(e *keyway.Error) {
	if len(w.problems) < maxProblems {
		w.problems = append(w.problems, e)
	}
}

// walk compares n with r. where is the path to n in messages.
func (w *walker) walk(n *yaml.Node, r *fields.Rule, where string) {
	n = document.Resolve(n)
	if r == nil || r.Fields == nil && r.Names == nil {
		return
	}
	if n.Kind == yaml.SequenceNode {
		for _, each := range n.Content {
			w.walk(each, r, where)
		}
		return
	}
	seen := map[string]bool{}
	for _, p := range document.OwnPairs(n) {
		name := p.Key.Value
		if seen[name] {
			w.add(w.Errorf(p.Key, "%s%s is there twice", where, name).Hint("remove one of the two"))
		}
		seen[name] = true
	}
	for _, p := range document.Pairs(n) {
		w.field(p, r, where)
	}
}

func (w *walker) field(p document.Pair, r *fields.Rule, where string) {
	name := p.Key.Value
	if r.Names != nil {
		w.shape(p, r.Names.Form, where+name)
		w.walk(p.Value, r.Names, where+name+".")
		return
	}
	known := r.Fields[name]
	switch {
	case known == nil && strings.HasPrefix(name, "x-"):
	case known == nil:
		e := w.Errorf(p.Key, "there is no field %.80q", strings.TrimPrefix(where, "services.")+name)
		if near := r.Nearest(name); near != "" {
			e = e.Hint("did you mean: %s", near)
		}
		w.add(e)
	case known.Not.Why != "" && (w.unused || known.Accepts(w.filled(p.Value))):
	case known.Not.Why != "":
		e := w.Errorf(p.Key, "the field %s is not for workspaces: %s", name, known.Not.Why).Hint("leave %s out, or keep a keyway.yaml beside the file that has it", name)
		e.Advice = known.Not.Advice()
		w.add(e)
	default:
		w.shape(p, known.Form, where+name)
		w.walk(p.Value, known, where+name+".")
	}
}

// filled returns the plain value of n with its variables filled in. A text whose variables have
// no value, or too much text, stays as it is.
func (w *walker) filled(n *yaml.Node) any {
	var fill func(any) any
	fill = func(v any) any {
		switch v := v.(type) {
		case string:
			if text, err := w.filler.Fill(v, w.lookup); err == nil {
				return text
			}
		case []any:
			for i := range v {
				v[i] = fill(v[i])
			}
		case map[string]any:
			for name := range v {
				v[name] = fill(v[name])
			}
		}
		return v
	}
	return fill(document.Plain(n))
}

// sources returns the names of the volumes or secrets, as field says, that the services of names
// use.
func (w *walker) sources(names []string, of string) map[string]bool {
	used := map[string]bool{}
	for _, name := range names {
		service, _ := w.service(name)
		list, _ := w.filled(cmp.Or(document.Field(service, of), document.Mapping())).([]any)
		for _, item := range list {
			switch item := item.(type) {
			case string:
				source, _, _ := strings.Cut(item, ":")
				used[source] = true
			case map[string]any:
				source, _ := item["source"].(string)
				used[source] = true
			}
		}
	}
	return used
}
