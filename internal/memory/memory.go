// Package memory returns to the operating system the memory that an idle process does not use.
package memory

import "runtime/debug"

// Release gives back freed heap, and on Linux the pages of the program that the kernel
// mapped in passing: it maps 64 KiB around each page that is touched, which at the start
// is most of the program. They stay in the page cache, and come back one fault at a time.
//
// A process that closes its memory to others cannot see its own map any more. It calls
// Release once before that.
func Release() {
	debug.FreeOSMemory()
	releaseProgram()
}
