package identity

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// allocate gives whole pages, kept from the page file if the limit on that
// allows it.
func allocate(size int) ([]byte, error) {
	page := os.Getpagesize()
	memory := make([]byte, (size+page)/page*page)
	windows.VirtualLock(uintptr(unsafe.Pointer(&memory[0])), uintptr(len(memory)))
	return memory, nil
}

func release(memory []byte) {
	windows.VirtualUnlock(uintptr(unsafe.Pointer(&memory[0])), uintptr(len(memory)))
}
