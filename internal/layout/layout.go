// Package layout holds the tests of the project's structure: which package may
// import which, which package owns which foreign module, what each program must not
// contain, and what the documents must list. docs/ARCHITECTURE.md has the table.
package layout
