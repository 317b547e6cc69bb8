package template

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// form is the set of shapes that a value may have. The zero form permits any. A letter stands for
// each shape: s for text, i for a whole number, n for another number, b for true or false, 0 for
// null, [ for a list and { for a mapping. Where text is permitted, a variable may stand.
type form struct {
	one  string // shapes of the value itself
	each string // shapes of the items, if it is a list
	of   string // shapes of the values, if it is a mapping with any fields
}

var (
	text         = form{one: "s"}
	number       = form{one: "nis"}
	whole        = form{one: "is"}
	truth        = form{one: "bs"}
	texts        = form{one: "[", each: "s"}
	textOrTexts  = form{one: "s[", each: "s"}
	words        = form{one: "s[0", each: "s"}
	mappings     = form{one: "{"}
	orNothing    = form{one: "{0"}
	pairsOrTexts = form{one: "{[", each: "s", of: "sinb0"}
)

// shapeOf returns the letter of a value's shape.
func shapeOf(n *yaml.Node) string {
	switch n = resolve(n); n.Kind {
	case yaml.SequenceNode:
		return "["
	case yaml.MappingNode:
		return "{"
	}
	switch n.ShortTag() {
	case "!!null":
		return "0"
	case "!!bool":
		return "b"
	case "!!int":
		return "i"
	case "!!float":
		return "n"
	}
	return "s"
}

// inWords holds the words for each shape in messages.
var inWords = map[byte]string{'s': "a string", 'i': "a whole number", 'n': "a number", 'b': "true or false", '[': "a list", '{': "a mapping with fields", '0': "empty"}

// shape reports a value whose shape is not permitted.
func (w *walker) shape(p pair, f form, name string) {
	n := resolve(p.value)
	if f.one == "" {
		return
	}
	name = strings.TrimPrefix(short(name), "services.")
	wrong := func(at *yaml.Node, what, want string) {
		e := w.errorf(at, "%s must be %s", what, inWords[want[0]])
		if want[0] == 's' && strings.Contains("inb", shapeOf(at)) {
			w.add(e.Hint("put it in quotes: \"…\""))
			return
		}
		w.add(e.Hint(howWritten))
	}
	shape := shapeOf(n)
	if !strings.Contains(f.one, shape) {
		wrong(n, name, f.one)
		return
	}
	switch {
	case shape == "[" && f.each != "":
		for _, item := range n.Content {
			if !strings.Contains(f.each, shapeOf(item)) {
				wrong(resolve(item), "each of "+name, f.each)
				return
			}
		}
	case shape == "{" && f.of != "":
		for _, inner := range pairs(n) {
			if !strings.Contains(f.of, shapeOf(inner.value)) {
				wrong(resolve(inner.value), name+"."+inner.key.Value, f.of)
				return
			}
		}
	}
}
