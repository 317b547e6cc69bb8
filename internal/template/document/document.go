// Package document reads the YAML of a template within bounds, and keeps the line of each value.
package document

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
)

// Bounds in bytes: on a file, and on the script of a setup, which is passed as an argument of a
// command.
const (
	MaxFile  = 1 << 20
	MaxSetup = 32 << 10
)

// Bounds on a file's content. Real templates need about a hundredth of them.
const (
	maxNodes = 20_000 // values, with every use of an anchor counted in full
	maxDepth = 64     // nesting of values
	maxText  = 64 << 10
)

// Document is a file whose size and shape have been checked.
type Document struct {
	File string // the name in messages
	Root *yaml.Node
	// Undeclared permits volumes that the file does not declare.
	Undeclared bool
	// Setup, if not nil, returns the script that the only service runs once. lookup has the values
	// of the laptop's variables.
	Setup func(lookup func(string) (string, bool)) (string, error)
}

// Read reads the Compose file at path.
func Read(path string) (*Document, error) {
	data, err := keyway.ReadPlainFile(path, MaxFile+1)
	if err != nil {
		return nil, keyway.Errorf(keyway.BadConfig, "the template file %s cannot be read: %w", path, err)
	}
	return Parse(path, data)
}

// Parse parses data. file is its name in messages.
func Parse(file string, data []byte) (*Document, error) {
	d := &Document{File: file}
	if len(data) > MaxFile {
		return nil, keyway.Errorf(keyway.BadConfig, "%s is larger than %d KiB, which no template needs", file, MaxFile>>10).
			Hint("keep the template in a file of its own: keyway.yaml")
	}
	var doc yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, keyway.Errorf(keyway.BadConfig, "%s is empty", file).Advise(keyway.ExampleOfTemplate)
	} else if err != nil {
		return nil, d.syntax(err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, keyway.Errorf(keyway.BadConfig, "%s holds more than one YAML document", file).Hint("keep the first, and remove what follows its ---")
	}
	d.Root = doc.Content[0]
	count := counter{document: d, sizes: map[*yaml.Node]int{}}
	if size, err := count.size(d.Root, 0); err != nil {
		return nil, err
	} else if size > maxNodes {
		return nil, keyway.Errorf(keyway.BadConfig, "%s has over %d values once its anchors are written out", file, maxNodes).
			Hint("use fewer aliases (*NAME) in it")
	}
	if d.Root.Kind != yaml.MappingNode {
		return nil, d.Errorf(d.Root, "the file is no Compose file: it has no fields").Hint("it begins with: services:")
	}
	return d, nil
}

// atLine matches the line number in an error of the YAML parser.
var atLine = lazyregexp.New(`line (\d+): `)

// syntax converts an error of the YAML parser to the form that other errors have.
func (d *Document) syntax(err error) error {
	said := strings.TrimPrefix(err.Error(), "yaml: ")
	where := d.File
	if at := atLine.FindStringSubmatchIndex(said); at != nil {
		where += ":" + said[at[2]:at[3]]
		said = said[:at[0]] + said[at[1]:]
	}
	return keyway.Errorf(keyway.BadConfig, "%s: this is not YAML: %s", where, said).Hint("look at the line and the one above it: spaces, no tabs, and the colons")
}

// Errorf returns an error about a value of the file.
func (d *Document) Errorf(at *yaml.Node, format string, args ...any) *keyway.Error {
	return keyway.Errorf(keyway.BadConfig, "%s: %s", d.position(at), fmt.Sprintf(format, args...))
}

// position returns FILE:LINE.
func (d *Document) position(at *yaml.Node) string {
	if at == nil || at.Line == 0 {
		return d.File
	}
	return d.File + ":" + strconv.Itoa(at.Line)
}

// counter counts the values of a document as if each alias were written out.
type counter struct {
	document *Document
	sizes    map[*yaml.Node]int // -1: being counted
}

func (c counter) size(n *yaml.Node, depth int) (int, error) {
	if known, seen := c.sizes[n]; seen {
		if known < 0 {
			return 0, c.document.Errorf(n, "the anchor %s contains itself", n.Anchor)
		}
		return known, nil
	}
	if depth > maxDepth {
		return 0, c.document.Errorf(n, "values are nested more than %d deep", maxDepth)
	}
	if len(n.Value) > maxText {
		return 0, c.document.Errorf(n, "a value is longer than %d KiB", maxText>>10)
	}
	if tag := n.ShortTag(); n.Style&yaml.TaggedStyle != 0 && !slices.Contains(tags, tag) {
		return 0, c.document.Errorf(n, "the tag %.40s means nothing here: a template is one file, and no other is put over it", tag).Hint("leave %.40s out", tag)
	}
	c.sizes[n] = -1
	inner := n.Content
	switch n.Kind {
	case yaml.AliasNode:
		inner = []*yaml.Node{n.Alias}
	case yaml.MappingNode:
		if err := c.document.unique(n); err != nil {
			return 0, err
		}
	}
	total := 1
	for _, child := range inner {
		size, err := c.size(child, depth+1)
		if err != nil {
			return 0, err
		}
		total = min(total+size, math.MaxInt32)
	}
	c.sizes[n] = total
	return total, nil
}

// tags lists the tags that a template may contain. Others, such as Compose's !reset and
// !override, request something that keyway would not do.
var tags = []string{"!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq", "!!merge", "!!timestamp"}

// unique refuses a mapping with a repeated key, as YAML does: one of the two values would be
// ignored, and no rule says which.
func (d *Document) unique(n *yaml.Node) error {
	lines := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		key := Resolve(n.Content[i])
		if key.Kind != yaml.ScalarNode {
			return d.Errorf(n.Content[i], "the name of a field is a word, not a list or a mapping").Hint("write it as NAME: VALUE, without ? and brackets")
		}
		if n.Content[i].Tag == "!!merge" && !mergeable(n.Content[i+1]) {
			return d.Errorf(n.Content[i], "<< takes in the fields of a mapping, and there is none behind it").Hint("for example: <<: *NAME")
		}
		if first, twice := lines[key.Value]; twice {
			return d.Errorf(n.Content[i], "%.80q is there twice, first in line %d", key.Value, first).Hint("remove one of the two, or rename it")
		}
		lines[key.Value] = n.Content[i].Line
	}
	return nil
}

// Resolve returns n, or the value that n is an alias of.
func Resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// Pair is a field of a mapping.
type Pair struct{ Key, Value *yaml.Node }

// Pairs returns the fields of a mapping, each once. A field of the mapping itself takes
// precedence over one that << merges in, and of merged fields the first does.
func Pairs(n *yaml.Node) []Pair {
	n = Resolve(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	all := OwnPairs(n)
	there := map[string]bool{}
	for _, p := range all {
		there[p.Key.Value] = true
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			continue
		}
		for _, p := range mergedPairs(n.Content[i+1]) {
			if !there[p.Key.Value] {
				there[p.Key.Value] = true
				all = append(all, p)
			}
		}
	}
	return all
}

// OwnPairs returns the fields of a mapping without those that << merges in.
func OwnPairs(n *yaml.Node) (own []Pair) {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			own = append(own, Pair{n.Content[i], n.Content[i+1]})
		}
	}
	return own
}

// mergeable reports whether << accepts the value: a mapping, or a list of mappings.
func mergeable(n *yaml.Node) bool {
	n = Resolve(n)
	if n.Kind != yaml.SequenceNode {
		return n.Kind == yaml.MappingNode
	}
	return !slices.ContainsFunc(n.Content, func(each *yaml.Node) bool { return Resolve(each).Kind != yaml.MappingNode })
}

func mergedPairs(value *yaml.Node) []Pair {
	value = Resolve(value)
	if value.Kind != yaml.SequenceNode {
		return Pairs(value)
	}
	var all []Pair
	for _, each := range value.Content {
		all = append(all, Pairs(each)...)
	}
	return all
}

// Field returns the value of a mapping's field, or nil.
func Field(n *yaml.Node, name string) *yaml.Node {
	for _, p := range Pairs(n) {
		if p.Key.Value == name {
			return Resolve(p.Value)
		}
	}
	return nil
}

// At returns the value at a path of fields, or the last value on the path that exists.
func At(n *yaml.Node, path []string) *yaml.Node {
	for _, name := range path {
		next := Field(n, name)
		if n = Resolve(n); next == nil && n.Kind == yaml.SequenceNode {
			if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(n.Content) {
				next = Resolve(n.Content[i])
			}
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// Plain converts n to the types that compose-go takes: maps, lists, strings, numbers and
// booleans.
func Plain(n *yaml.Node) any {
	n = Resolve(n)
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for _, p := range Pairs(n) {
			m[p.Key.Value] = Plain(p.Value)
		}
		return m
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, each := range n.Content {
			list = append(list, Plain(each))
		}
		return list
	}
	return scalar(n)
}

func scalar(n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool", "!!int", "!!float":
		var v any
		if err := n.Decode(&v); err == nil {
			if f, ok := v.(float64); !ok || !math.IsNaN(f) && !math.IsInf(f, 0) {
				return v
			}
		}
	}
	return n.Value // a date stays text
}
