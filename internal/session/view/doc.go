// Package view is the process that shows a session. It owns the user's terminal, or the files in
// its place, while it passes on the job's output and the user's input. It restores the terminal at
// the end. The job itself belongs to package holder. Begin with Viewing.
package view
