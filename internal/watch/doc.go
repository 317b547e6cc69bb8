// Package watch waits for jobs that this laptop has started and left, and reports to the user how
// they ended: on the desktop, and by a command that the user has named in config.yaml.
//
// Each job is a file in one directory, so that it outlives the process that waits. Add writes the
// files, in any process; Run waits, in one process, the link.
package watch
