// Package joblog keeps the output of a job: files with the bytes, and an index with the time
// and the stream of each stretch of them. The log is bounded. A full disk costs bytes of the
// log, never the job.
package joblog
