package template

import "io/fs"

// trusted reports true: a file has no owner in the sense of Unix here.
func trusted(fs.FileInfo) bool { return true }
