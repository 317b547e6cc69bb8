// Package lines makes of an output the lines that are left of it in the end, as a
// terminal of the job's size shows them: of a progress bar the last state, of all else
// each line once.
package lines
