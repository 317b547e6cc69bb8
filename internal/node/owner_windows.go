package node

import "io/fs"

// ownerOf reports that a file has no owner in the sense of Unix here.
func ownerOf(fs.FileInfo) (uint32, bool) { return 0, false }
