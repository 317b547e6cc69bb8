// Package gpu lists the GPUs of a place, and lends them to workspaces so that no two get the same
// one.
//
// There is no daemon. Three facts together decide whether a GPU is free: the leases in a directory
// that all users of the machine share, the workspaces that an engine lists, and the processes that
// the driver reports on the GPU. A lease names the first process of a workspace, so that it ends
// with that process, however that one ends. From the choice of a GPU until its lease names a
// process, the maker of the workspace holds a lock, which the kernel releases if the maker dies.
//
// A lease is an agreement between those who use keyway. It does not prevent users from using a GPU
// to which the machine gives them access. Begin with Pool.
package gpu
