package stream

import "syscall"

// Fill is for systems on which one call reads into several buffers.
func Fill(*Conn, syscall.RawConn) bool { return false }
