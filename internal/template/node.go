package template

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// mapping returns an empty mapping.
func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"} }

// word returns a text that stands on a line of the file.
func word(text string, line int) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Line: line}
}

// put sets a field of a mapping.
func put(m *yaml.Node, name string, v *yaml.Node) {
	remove(m, name)
	m.Content = append(m.Content, word(name, v.Line), v)
}

func remove(m *yaml.Node, name string) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == name {
			m.Content = slices.Delete(m.Content, i, i+2)
			return
		}
	}
}

// items returns the items of a list, or a single value as the only item.
func items(n *yaml.Node) (all []*yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		return []*yaml.Node{n}
	}
	for _, each := range n.Content {
		all = append(all, resolve(each))
	}
	return all
}
