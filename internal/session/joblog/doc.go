// Package joblog keeps what a job printed: files with the bytes, and an index that
// says when each stretch of them came and from which stream. It is bounded, and a
// full disk costs bytes of the log, never the job.
package joblog
