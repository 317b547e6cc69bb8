//go:build !linux || embed_node_amd64 || embed_node_arm64

package main

import "context"

// plainNode returns "": a release runs one of the programs that it carries as the local node.
func plainNode(string) string { return "" }

// asAnother returns false: a release carries the other programs as files.
func asAnother(context.Context, []string) (code int, ok bool) { return 0, false }
