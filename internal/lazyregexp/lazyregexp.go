// Package lazyregexp delays the compilation of regular expressions of package variables
// until they are used. Every process of keyway runs the same program, and most use none
// of them: compiled at the start they took 0.5 MB of each, and half a millisecond.
package lazyregexp

import (
	"regexp"
	"sync"
)

// New returns a function that compiles expr when it is first called, and panics then if
// expr is none.
func New(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
