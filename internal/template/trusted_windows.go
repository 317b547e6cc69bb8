package template

import "io/fs"

// trusted reports true: on Windows a file has no owner in the sense of Unix.
func trusted(fs.FileInfo) bool { return true }
