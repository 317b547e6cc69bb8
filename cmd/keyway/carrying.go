//go:build !linux || embed_node_amd64 || embed_node_arm64

package main

import "context"

// plainNode is empty: the local node is one of the programs carried.
func plainNode(string) string { return "" }

// asAnother reports that this program is no other: it carries them.
func asAnother(context.Context, []string) (code int, ok bool) { return 0, false }
