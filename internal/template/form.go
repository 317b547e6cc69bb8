package template

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"keyway/internal/template/fields"
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
func (w *walker) shape(p pair, f fields.Form, name string) {
	n := resolve(p.value)
	if f.One == "" {
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
	if !strings.Contains(f.One, shape) {
		wrong(n, name, f.One)
		return
	}
	switch {
	case shape == "[" && f.Each != "":
		for _, item := range n.Content {
			if !strings.Contains(f.Each, shapeOf(item)) {
				wrong(resolve(item), "each of "+name, f.Each)
				return
			}
		}
	case shape == "{" && f.Of != "":
		for _, inner := range pairs(n) {
			if !strings.Contains(f.Of, shapeOf(inner.value)) {
				wrong(resolve(inner.value), name+"."+inner.key.Value, f.Of)
				return
			}
		}
	}
}
