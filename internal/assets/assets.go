// Package assets holds the programs that keyway carries for other machines: nodes, which keyway
// sends to places, the guest, which a node puts into workspaces, and keyway-jupyter, which keyway
// sends into workspaces that use it. They are files compressed by gzip. The Makefile puts them here
// before it builds a keyway with the tags embed_node_amd64 and embed_node_arm64, or a node with
// embed_guest. A plain go build contains none.
package assets

import "strings"

// Program is an embedded program.
type Program struct {
	Hash string // SHA-256 of the program itself, hexadecimal
	Gzip []byte // the gzip'd program
}

// Guest returns the guest for Linux on the architecture, which is a GOARCH.
func Guest(arch string) (Program, bool) { return lookup(guests, arch) }

// Node returns the keyway-node for Linux on the architecture, which is a GOARCH.
func Node(arch string) (Program, bool) { return lookup(nodes, arch) }

// Jupyter returns the keyway-jupyter for Linux on the architecture, which is a GOARCH.
func Jupyter(arch string) (Program, bool) { return lookup(jupyters, arch) }

// guests, nodes and jupyters are filled by the files that embed them.
var guests, nodes, jupyters = map[string]embedded{}, map[string]embedded{}, map[string]embedded{}

type embedded struct {
	gzip []byte
	hash string // as sha256sum prints it, with a line end
}

func lookup(all map[string]embedded, arch string) (Program, bool) {
	e, ok := all[arch]
	if !ok {
		return Program{}, false
	}
	hash, _, _ := strings.Cut(e.hash, " ")
	return Program{Hash: strings.TrimSpace(hash), Gzip: e.gzip}, true
}
