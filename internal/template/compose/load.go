package compose

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/compose-spec/compose-go/v2/interpolation"
	"github.com/compose-spec/compose-go/v2/override"
	compose "github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/transform"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
	"keyway/internal/template/document"
	"keyway/internal/template/fields"
	"keyway/internal/template/twins"
	"keyway/internal/template/variables"
)

// service returns the definition of a service.
func (d source) service(name string) (*yaml.Node, error) {
	services := document.Field(d.Root, "services")
	n := document.Field(services, name)
	if n == nil {
		return nil, keyway.Errorf(keyway.BadConfig, "%s has no service %s", d.File, name)
	}
	return n, nil
}

// maxExtends bounds a chain of services of which each extends the next.
const maxExtends = 16

// chain returns the service's name and, in order, those of the same file that it extends.
func (d source) chain(name string) (names []string, err error) {
	for range maxExtends {
		if slices.Contains(names, name) {
			n, _ := d.service(name)
			return nil, d.Errorf(n, "the service %s extends itself", name).Hint("take one of these extends away: %s", strings.Join(append(names, name), " extends "))
		}
		n, err := d.service(name)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
		extends := document.Field(n, "extends")
		if extends == nil || document.Field(extends, "file") != nil { // check refuses the file
			return names, nil
		}
		if name = extends.Value; extends.Kind == yaml.MappingNode {
			base := document.Field(extends, "service")
			if base == nil {
				return nil, d.Errorf(extends, "extends names no service").Hint("write: extends: {service: NAME}")
			}
			name = base.Value
		}
	}
	return nil, d.Errorf(nil, "more than %d services extend one another", maxExtends)
}

// check finds the fields that cannot be honoured in the services of names, and in the volumes and
// secrets that these use.
func (d source) check(names []string, lookup func(string) (string, bool)) error {
	w := walker{source: d, lookup: lookup}
	for _, p := range document.OwnPairs(d.Root) {
		top := p.Key.Value
		switch {
		case top == "services":
		case (top == "volumes" || top == "secrets") && document.Shape(p.Value) == "{":
			used, rule := w.sources(names, top), fields.File.Fields[top]
			for _, each := range document.Pairs(p.Value) {
				w.unused = !used[each.Key.Value]
				w.field(each, rule, top+".")
			}
			w.unused = false
		default:
			w.field(p, fields.File, "")
		}
	}
	for _, p := range document.Pairs(document.Field(d.Root, "services")) {
		if slices.Contains(names, p.Key.Value) {
			w.walk(p.Value, fields.Service, "services."+p.Key.Value+".")
		}
	}
	return together(w.problems)
}

// together joins several problems into one error.
func together(problems []*keyway.Error) error {
	if len(problems) == 0 {
		return nil
	}
	var said, next []string
	var advice []keyway.Advice
	for _, p := range problems {
		said = append(said, p.Message)
		for _, a := range p.Advice {
			if !slices.ContainsFunc(advice, func(said keyway.Advice) bool { return said.Step == a.Step && slices.Equal(said.About, a.About) }) {
				advice = append(advice, a)
			}
		}
		if p.Next != "" && !slices.Contains(next, p.Next) {
			next = append(next, p.Next)
		}
	}
	return &keyway.Error{Kind: keyway.BadConfig, Message: strings.Join(said, "\n"), Next: strings.Join(next, "\n"), Advice: advice}
}

// loaded is a service as compose-go reads it.
type loaded struct {
	types.ServiceConfig
	volumes types.Volumes
	secrets types.Secrets
	used    []string // the variables that were filled in
}

// load reads one service, and those that it extends, with compose-go. compose-go's own loader
// does the same, but it imports a compiler of JSON schemas, whose initialisation would delay
// every start of keyway.
func (d source) load(name string, names []string, lookup func(string) (string, bool)) (loaded, error) {
	model := map[string]any{"services": d.services(names)}
	for _, top := range []string{"volumes", "secrets"} {
		if n := document.Field(d.Root, top); n != nil {
			model[top] = document.Plain(n)
			fields.File.Fields[top].Prune(model[top])
		}
	}
	used, filler := map[string]bool{}, new(variables.Filler)
	model, err := interpolation.Interpolate(model, interpolation.Options{
		Substitute: func(text string, lookup compose.Mapping) (string, error) { return filler.Fill(text, lookup) }, TypeCastMapping: casts,
		LookupValue: func(name string) (string, bool) {
			v, ok := lookup(name)
			if ok {
				used[name] = true
			}
			return v, ok
		},
	})
	if err != nil {
		return loaded{}, d.explain(err)
	}
	if err := d.twins(model["services"], names); err != nil {
		return loaded{}, err
	}
	service, err := extended(model["services"], names)
	if err != nil {
		return loaded{}, d.explain(err)
	}
	if g, ok := service["gpus"].(string); ok && g != "all" {
		return loaded{}, d.Errorf(document.At(d.Root, []string{"services", d.having(names, "gpus"), "gpus"}), "gpus cannot be %.40q", g).
			Hint("write: gpus: all, or a number of them: gpus: [{count: 2}]")
	}
	for _, find := range []func(map[string]any, []string) error{d.shortVolumes, d.shellWords, d.halfUlimits, d.portRanges} {
		if err := find(service, names); err != nil {
			return loaded{}, err
		}
	}
	model["services"] = map[string]any{name: service}
	for _, step := range []func(map[string]any) (map[string]any, error){override.EnforceUnicity, canonical, override.EnforceUnicity, transform.SetDefaultValues} {
		if model, err = step(model); err != nil {
			return loaded{}, d.explain(err)
		}
	}
	var all struct {
		Services map[string]types.ServiceConfig
		Volumes  types.Volumes
		Secrets  types.Secrets
	}
	if err := decode(model, &all); err != nil {
		return loaded{}, d.misformed(err, names)
	}
	return loaded{ServiceConfig: all.Services[name], volumes: all.Volumes, secrets: all.Secrets, used: slices.Sorted(maps.Keys(used))}, nil
}

// twins refuses what the services of names ask for twice: within one, or by two fields. One
// that extends another may say again what that says.
func (d source) twins(services any, names []string) error {
	all, _ := services.(map[string]any)
	type said struct {
		twins.Item
		service string
	}
	first := map[string]said{}
	where := func(s said) *yaml.Node {
		path := []string{"services", s.service, s.Field}
		if s.Index >= 0 {
			path = append(path, strconv.Itoa(s.Index))
		}
		return document.At(d.Root, path)
	}
	for _, name := range names {
		service, _ := all[name].(map[string]any)
		for _, item := range twins.Items(service) {
			s := said{item, name}
			before, twice := first[item.Claim]
			if twice && (before.service == name || before.Field != item.Field) {
				if before.service != name { // the one that is extended comes first
					before, s = s, before
				}
				return d.Errorf(where(s), "%s: %s is taken already, in line %d (%s)", s.Field, s.Claim, where(before).Line, before.Field).Hint("keep one of the two")
			}
			if !twice {
				first[item.Claim] = s
			}
		}
	}
	return nil
}

// shortVolumes refuses options in SOURCE:TARGET:OPTIONS that keyway's mounts do not have.
// compose-go ignores options that it does not know.
func (d source) shortVolumes(service map[string]any, names []string) error {
	list, _ := service["volumes"].([]any)
	for _, each := range list {
		text, _ := each.(string)
		if source, rest, _ := strings.Cut(text, ":"); utf8.RuneCountInString(source) == 1 && strings.ContainsFunc(source, unicode.IsLetter) {
			text = rest // compose-go takes a letter for a Windows drive
		}
		parts := strings.SplitN(text, ":", 3)
		if len(parts) < 3 {
			continue
		}
		for option := range strings.SplitSeq(parts[2], ",") {
			if !slices.Contains(fields.MountOptions, option) {
				return d.Errorf(document.At(d.Root, []string{"services", d.having(names, "volumes"), "volumes"}), "volumes: %.80q: the option %.40q is not possible: %s", text, option, fields.NotMounted).
					Hint("possible are: ro, rw")
			}
		}
	}
	return nil
}

// halfUlimits refuses a limit that lacks one of its two values, for which compose-go uses 0.
func (d source) halfUlimits(service map[string]any, names []string) error {
	all, _ := service["ulimits"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if two, ok := all[name].(map[string]any); ok && (two["soft"] == nil || two["hard"] == nil) {
			return d.Errorf(document.At(d.Root, []string{"services", d.having(names, "ulimits"), "ulimits"}), "ulimits: %.40s needs a soft limit and a hard one", name).
				Hint("for example: %.40s: {soft: 65536, hard: 1048576}, or one number for both", name)
		}
	}
	return nil
}

// portRanges refuses a range of more ports than are offered, which compose-go would write out.
func (d source) portRanges(service map[string]any, names []string) error {
	list, _ := service["ports"].([]any)
	for _, each := range list {
		text, _ := each.(string)
		text, _, _ = strings.Cut(text[strings.LastIndexByte(text, ':')+1:], "/")
		first, last, _ := strings.Cut(text, "-")
		from, err := strconv.Atoi(first)
		if to, bad := strconv.Atoi(last); err == nil && bad == nil && to-from >= maxPorts {
			return d.Errorf(document.At(d.Root, []string{"services", d.having(names, "ports"), "ports"}), "ports: more than %d ports", maxPorts).Hint(fewerPorts)
		}
	}
	return nil
}

// shellWords refuses a command with a shell operator, at which compose-go ends the command.
func (d source) shellWords(service map[string]any, names []string) error {
	for _, name := range []string{"entrypoint", "command"} {
		line, _ := service[name].(string)
		if operator := shellOperator(line); operator != "" {
			return d.Errorf(document.At(d.Root, []string{"services", d.having(names, name), name}), "%s: no shell reads it, and %q is a shell's", name, operator).
				Hint("have one read it: %s: [sh, -c, \"…\"]\nor put it in quotes: '%s'", name, operator)
		}
	}
	return nil
}

// shellOperator returns the first shell operator outside quotes in a command line.
func shellOperator(line string) string {
	var quote rune
	escaped := false
	for _, r := range line {
		switch {
		case escaped:
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case strings.ContainsRune(";&|<>", r):
			return string(r)
		}
	}
	return ""
}

func canonical(model map[string]any) (map[string]any, error) {
	return transform.Canonical(model, false)
}

// extended merges the named services, each over the next.
func extended(services any, names []string) (map[string]any, error) {
	all, _ := services.(map[string]any)
	var merged map[string]any
	for _, name := range slices.Backward(names) {
		one, ok := all[name].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("services.%s must have fields", name)
		}
		delete(one, "extends")
		if merged == nil {
			merged = one
			continue
		}
		var err error
		if merged, err = override.ExtendService(merged, one); err != nil {
			return nil, err
		}
	}
	return merged, nil
}

// services returns the services that compose-go gets. It omits other services of the file, which
// may be for other programs, fields that compose-go would only refuse, and those whose value
// changes nothing.
func (d source) services(names []string) map[string]any {
	m := map[string]any{}
	all := document.Field(d.Root, "services")
	for _, name := range names {
		m[name] = document.Plain(document.Field(all, name))
		if its, ok := m[name].(map[string]any); ok { // in a setup, $NAME is for its shell
			maps.DeleteFunc(its, func(name string, _ any) bool { return strings.HasPrefix(name, "x-") })
		}
		fields.Service.Prune(m[name])
	}
	return m
}

// inPath matches the path of fields in an error of compose-go.
var inPath = lazyregexp.New(`'?\b(services|volumes|secrets)[.\[][A-Za-z0-9_.\[\]-]+'?`)

// explain returns an error of compose-go with the line that it is about.
func (d source) explain(err error) error {
	var unset variables.UnsetError
	said := strings.Join(strings.Fields(err.Error()), " ")
	where, message := d.Root, said
	if found := inPath.FindString(said); found != "" {
		path := strings.Trim(found, "'")
		where = document.At(d.Root, strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }))
		message = strings.Trim(strings.Replace(said, found, short(path), 1), ": ")
	}
	if errors.Is(err, variables.ErrTooMuch) {
		return d.Errorf(where, "%v", variables.ErrTooMuch).Hint("use a long value less often")
	}
	if errors.As(err, &unset) {
		form := "${%[1]s:-VALUE}"
		if strings.HasSuffix(d.File, ".json") {
			form = "${localEnv:%[1]s:VALUE}"
		}
		return d.Errorf(where, "%v", unset).Hint("set it: export %[1]s=VALUE\nor give it a default in the file: "+form, unset.Name)
	}
	if where == d.Root {
		where = cmp.Or(quotedBy(d.Root, said), where)
	}
	return d.Errorf(where, "%.500s", message).Hint(howWritten)
}

// quotedBy returns the longest value below n that occurs in an error's text, or nil.
func quotedBy(n *yaml.Node, said string) (found *yaml.Node) {
	if n.Kind == yaml.ScalarNode && len(n.Value) > 1 && strings.Contains(said, n.Value) {
		return n
	}
	for _, child := range n.Content {
		if at := quotedBy(child, said); at != nil && (found == nil || len(at.Value) > len(found.Value)) {
			found = at
		}
	}
	return found
}

const howWritten = "see how it is written: docs/TEMPLATES.md"

// short returns a path without the service's name, which the reader knows.
func short(path string) string {
	parts := strings.SplitN(path, ".", 3)
	if len(parts) == 3 && parts[0] == "services" {
		return parts[2]
	}
	return path
}
