package agent

import "os"

// inForeground is never true: a question could not be taken back from a console.
func inForeground(*os.File) bool { return false }
