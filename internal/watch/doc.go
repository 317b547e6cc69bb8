// Package watch waits for jobs that this laptop has started and left, and tells
// its user how they ended: on the desktop, and by a command that the user has
// named in config.yaml.
//
// Each job that is waited for is a file in one directory, so that it outlives the
// process that waits. Add writes the files, in any process; Run waits, in one
// process.
package watch
