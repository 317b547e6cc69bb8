package document

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// Mapping returns an empty mapping.
func Mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"} }

// Word returns a text that stands on a line of the file.
func Word(text string, line int) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Line: line}
}

// Put sets a field of a mapping.
func Put(m *yaml.Node, name string, v *yaml.Node) {
	remove(m, name)
	m.Content = append(m.Content, Word(name, v.Line), v)
}

func remove(m *yaml.Node, name string) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == name {
			m.Content = slices.Delete(m.Content, i, i+2)
			return
		}
	}
}

// Items returns the items of a list, or a single value as the only item.
func Items(n *yaml.Node) (all []*yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		return []*yaml.Node{n}
	}
	for _, each := range n.Content {
		all = append(all, Resolve(each))
	}
	return all
}

// Shape returns the letter of a value's shape, as in fields.Form.
func Shape(n *yaml.Node) string {
	switch n = Resolve(n); n.Kind {
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
