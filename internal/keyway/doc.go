// Package keyway holds the nouns of the program: names, places, workspaces,
// what a workspace shall look like, where a workspace keeps its files, and the
// one error type that reaches people. It decides nothing and starts nothing, so
// every other package may import it.
package keyway
