package main

import (
	"net"
	"os"

	"keyway/internal/keyway"
)

func passDescriptor(*os.File, *net.UnixConn) error {
	return keyway.Errorf(keyway.Usage, "Windows cannot pass descriptors").Hint("leave out --fdpass")
}
