package laptop

import "io/fs"

// tooOpen reports whether ssh ignores a key file because others may use it: modes do not
// tell here.
func tooOpen(fs.FileInfo) bool { return false }
