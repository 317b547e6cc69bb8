// Package fields holds the fields of Compose: the shape of each that a workspace can have, and for
// each other the reason why not, with the values of it that change nothing.
package fields

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"keyway/internal/keyway"
)

// Rule describes the permitted values at one position of a Compose file.
type Rule struct {
	Fields map[string]*Rule // the permitted fields, also of mappings in a list
	Names  *Rule            // any field is permitted, each of this form
	Not    Reason           // why the field is refused; zero: it is not
	Form   Form             // the permitted shapes of the value

	// unless lists the values of a refused field that change nothing about a workspace, in the
	// language of but.
	unless []string
}

// Reason is why a workspace cannot have what a file requests.
type Reason struct {
	Why  string      // part of a sentence
	Step keyway.Step // what to do instead; empty: nothing
}

// Advice returns r's step as advice.
func (r Reason) Advice() []keyway.Advice {
	if r.Step == "" {
		return nil
	}
	return keyway.AdviseTo(r.Step)
}

// Accepts reports whether v changes nothing about a workspace: it is Compose's default, or what
// every workspace has. Variables in v must have been filled in.
func (r *Rule) Accepts(v any) bool {
	if r == nil {
		return false
	}
	if slices.Contains(r.unless, "*") {
		return true
	}
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			rule := r.Fields[name]
			if rule == nil && r.Names != nil {
				rule = r.Names
			}
			if !rule.Accepts(inner) {
				return false
			}
		}
		return len(v) > 0 || slices.Contains(r.unless, "{}")
	case []any:
		if len(v) == 0 {
			return slices.Contains(r.unless, "[]")
		}
		return !slices.ContainsFunc(v, func(item any) bool { return item == "" || !slices.Contains(r.unless, fmt.Sprintf("[%v]", item)) })
	case nil:
		return slices.Contains(r.unless, "~")
	case string:
		truth, isTruth := Truth(v)
		return slices.Contains(r.unless, v) || v == "" && slices.Contains(r.unless, "''") || isTruth && slices.Contains(r.unless, fmt.Sprint(truth))
	}
	return slices.Contains(r.unless, fmt.Sprint(v))
}

// Prune takes the refused fields out of v. It is for a value of which each refused field has one that
// Accepts takes.
func (r *Rule) Prune(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			r.Prune(item)
		}
	case map[string]any:
		for name, inner := range v {
			rule := r.Names
			if rule == nil {
				rule = r.Fields[name]
			}
			switch {
			case rule == nil:
			case rule.Not.Why != "":
				delete(v, name)
			default:
				rule.Prune(inner)
			}
		}
	}
}

// Truth returns what a text means where true or false must stand, in Compose's words. YAML reads only
// true and false as such.
func Truth(text string) (value, ok bool) {
	switch strings.ToLower(text) {
	case "true", "y", "yes", "on":
		return true, true
	case "false", "n", "no", "off":
		return false, true
	}
	return false, false
}

// but accepts some values of a refused field, separated by spaces: words and numbers, two quotes for
// an empty text, {} and [] for an empty mapping and list, ~ for null, [ITEM] for a list of such items,
// and * for any value.
//
//go:noinline
func (r *Rule) but(values string) *Rule {
	r.unless = strings.Fields(values)
	return r
}

// having accepts a mapping whose fields are all accepted by these rules.
//
//go:noinline
func (r *Rule) having(inner map[string]*Rule) *Rule {
	r.Fields = inner
	return r
}

// The functions that make rules are not inlined: the tables would be 36 KB larger.

// only returns rules that accept these values of fields.
//
//go:noinline
func only(values map[string]string) map[string]*Rule {
	m := map[string]*Rule{}
	for name, accepted := range values {
		m[name] = new(Rule).but(accepted)
	}
	return m
}

//go:noinline
func not(why string) *Rule { return instead(why, "") }

// instead returns the rule for a refused field, with what to do instead.
//
//go:noinline
func instead(why string, step keyway.Step) *Rule { return &Rule{Not: Reason{why, step}} }

//go:noinline
func having(f map[string]*Rule) *Rule { return &Rule{Fields: f} }

// shaped returns rules for fields of one shape.
//
//go:noinline
func shaped(f Form, list ...string) map[string]*Rule {
	m := map[string]*Rule{}
	for _, name := range list {
		m[name] = &Rule{Form: f}
	}
	return m
}

// all joins several groups of rules.
func all(groups ...map[string]*Rule) map[string]*Rule {
	m := map[string]*Rule{}
	for _, g := range groups {
		maps.Copy(m, g)
	}
	return m
}

// in returns r with another shape.
//
//go:noinline
func (r *Rule) in(f Form) *Rule {
	r.Form = f
	return r
}

// Nearest returns the field of r that name was probably meant to be, or "". It never returns a
// field that would be refused.
func (r *Rule) Nearest(name string) string {
	var best string
	far := len(name)/3 + 1
	for _, candidate := range slices.Sorted(maps.Keys(r.Fields)) {
		if d := keyway.Distance(name[:min(len(name), 64)], candidate); r.Fields[candidate].Not.Why == "" && d <= far {
			if best == "" || d < far {
				best, far = candidate, d
			}
		}
	}
	return best
}
