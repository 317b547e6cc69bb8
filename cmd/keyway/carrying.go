//go:build !linux || embed_node_amd64 || embed_node_arm64

package main

import "context"

// plainNode is empty: the local node is one of the programs carried.
func plainNode(string) string { return "" }

// asAnother does nothing here: a release carries the other programs as files.
func asAnother(context.Context, []string) (code int, ok bool) { return 0, false }
