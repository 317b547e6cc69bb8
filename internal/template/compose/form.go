package compose

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"keyway/internal/template/document"
	"keyway/internal/template/fields"
)

// inWords holds the words for each shape in messages.
var inWords = map[byte]string{'s': "a string", 'i': "a whole number", 'n': "a number", 'b': "true or false", '[': "a list", '{': "a mapping with fields", '0': "empty"}

// shape reports a value whose shape is not permitted.
func (w *walker) shape(p document.Pair, f fields.Form, name string) {
	n := document.Resolve(p.Value)
	if f.One == "" {
		return
	}
	name = strings.TrimPrefix(short(name), "services.")
	wrong := func(at *yaml.Node, what, want string) {
		e := w.Errorf(at, "%s must be %s", what, inWords[want[0]])
		if want[0] == 's' && strings.Contains("inb", document.Shape(at)) {
			w.add(e.Hint("put it in quotes: \"…\""))
			return
		}
		w.add(e.Hint(howWritten))
	}
	shape := document.Shape(n)
	if !strings.Contains(f.One, shape) {
		wrong(n, name, f.One)
		return
	}
	switch {
	case shape == "[" && f.Each != "":
		for _, item := range n.Content {
			if !strings.Contains(f.Each, document.Shape(item)) {
				wrong(document.Resolve(item), "each of "+name, f.Each)
				return
			}
		}
	case shape == "{" && f.Of != "":
		for _, inner := range document.Pairs(n) {
			if !strings.Contains(f.Of, document.Shape(inner.Value)) {
				wrong(document.Resolve(inner.Value), name+"."+inner.Key.Value, f.Of)
				return
			}
		}
	}
}
