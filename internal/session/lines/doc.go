// Package lines reduces an output to the lines that would remain on a terminal of the job's size:
// the last state of a progress bar, and each other line once. Begin with Collapser.
package lines
