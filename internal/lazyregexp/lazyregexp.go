// Package lazyregexp delays the compilation of regular expressions of package variables until they
// are used. Every process of keyway runs the same program, and most use none of them. Compiled at
// the start, they took 0.8 MB of memory and a millisecond in each process. Begin with New, which
// replaces regexp.MustCompile.
package lazyregexp

import (
	"regexp"
	"sync/atomic"
)

// Regexp is a regexp.Regexp that is compiled by the first call of a method, which panics if the
// expression is invalid. Its methods are those of regexp.Regexp.
type Regexp struct {
	expr     string
	compiled atomic.Pointer[regexp.Regexp]
}

// New returns the regular expression expr. The compiler makes of it a variable that the
// start of a program need not set.
func New(expr string) *Regexp { return &Regexp{expr: expr} }

// re returns the compiled expression. It must not be inlined, since programs have many callers.
// Two concurrent calls may both compile it, with the same result.
//
//go:noinline
func (r *Regexp) re() *regexp.Regexp {
	if r.compiled.Load() == nil {
		r.compiled.Store(regexp.MustCompile(r.expr))
	}
	return r.compiled.Load()
}

// FindAllString calls regexp.Regexp.FindAllString.
func (r *Regexp) FindAllString(s string, n int) []string { return r.re().FindAllString(s, n) }

// FindAllStringSubmatchIndex calls regexp.Regexp.FindAllStringSubmatchIndex.
func (r *Regexp) FindAllStringSubmatchIndex(s string, n int) [][]int {
	return r.re().FindAllStringSubmatchIndex(s, n)
}

// FindString calls regexp.Regexp.FindString.
func (r *Regexp) FindString(s string) string { return r.re().FindString(s) }

// FindStringSubmatch calls regexp.Regexp.FindStringSubmatch.
func (r *Regexp) FindStringSubmatch(s string) []string { return r.re().FindStringSubmatch(s) }

// FindStringSubmatchIndex calls regexp.Regexp.FindStringSubmatchIndex.
func (r *Regexp) FindStringSubmatchIndex(s string) []int { return r.re().FindStringSubmatchIndex(s) }

// FindSubmatch calls regexp.Regexp.FindSubmatch.
func (r *Regexp) FindSubmatch(b []byte) [][]byte { return r.re().FindSubmatch(b) }

// MatchString calls regexp.Regexp.MatchString.
func (r *Regexp) MatchString(s string) bool { return r.re().MatchString(s) }

// ReplaceAll calls regexp.Regexp.ReplaceAll.
func (r *Regexp) ReplaceAll(src, repl []byte) []byte { return r.re().ReplaceAll(src, repl) }

// ReplaceAllFunc calls regexp.Regexp.ReplaceAllFunc.
func (r *Regexp) ReplaceAllFunc(src []byte, repl func([]byte) []byte) []byte {
	return r.re().ReplaceAllFunc(src, repl)
}

// ReplaceAllString calls regexp.Regexp.ReplaceAllString.
func (r *Regexp) ReplaceAllString(src, repl string) string { return r.re().ReplaceAllString(src, repl) }
