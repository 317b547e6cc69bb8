package gpu

import "context"

// store holds the small files that all makers of workspaces on a machine share. One of them at
// a time may hold a file. A file is free when its holder ends, however it ends.
type store interface {
	// lock makes the caller the only one that reads and changes the store.
	lock(ctx context.Context) (unlock func(), err error)
	// hold makes the file and holds it; filelock.ErrLocked if another process does.
	hold(name string) (holding, error)
	// look returns the content of the file, and whether it is held. A missing file is empty.
	look(name string) (data []byte, held bool, err error)
	// list are the names of the files that begin with prefix, sorted.
	list(prefix string) ([]string, error)
}

// holding is a file that is held.
type holding interface {
	// write replaces the file's content by data, completely or not at all.
	write(data []byte) error
	// release lets go of the file, and removes it if it is to be removed. It may be
	// called twice.
	release(remove bool)
}

// maxFile is the size of a file in bytes. Each is written at once and is always
// that long, padded with spaces, so that no reader sees a part.
const maxFile = 2048
