// Package gpu lists the GPUs of a place, and lends them to workspaces so that no two get the same
// one.
//
// There is no daemon. Three things together tell whether a GPU is free: the leases
// in a directory that all users of the machine share, the workspaces that an engine
// shows, and the processes that the driver sees on the GPU. A lease names the first
// process of a workspace, so that it ends with that process, however that one ends.
// From the choice of a GPU until its lease names a process, the maker of the
// workspace holds a lock that the kernel takes back when the maker dies.
//
// A lease is an agreement between those who use keyway. It keeps nobody from a GPU
// that the machine lets him use.
package gpu
