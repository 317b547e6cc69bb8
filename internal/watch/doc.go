// Package watch waits for jobs that this laptop has started and left, and tells
// its user how they ended: on the desktop, and by a command that the user has
// named in config.yaml.
//
// What is waited for is a file a job in one directory, so that it is not forgotten
// with the process that waits. Files come from Add, in any process; Run waits, in
// one.
package watch
