// Package view is the process that shows a session: it owns the user's terminal, or
// the files in its place, while it passes on what the job prints and what the user
// types. It leaves the terminal as it was.
package view
