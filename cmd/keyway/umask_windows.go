package main

// keepOwnFiles does nothing: Windows has no umask.
func keepOwnFiles() {}
