// Package joblog keeps the output of a job: files with the bytes, and an index with the time and
// the stream of each stretch of them. The log is bounded. If the disk is full, bytes of the log are
// lost, but the job continues. Begin with Writer and Reader. docs/PROTOCOL.session.md has the
// format.
package joblog
