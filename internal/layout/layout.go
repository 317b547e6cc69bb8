// Package layout is the tests that keep the rooms of the house apart: which
// package may import which, who owns which foreign module, what must not get
// into the guest. docs/ARCHITECTURE.md has the table that they enforce.
package layout
