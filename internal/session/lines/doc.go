// Package lines reduces an output to the lines that remain in the end on a terminal of the
// job's size: the last state of a progress bar, and each other line once.
package lines
