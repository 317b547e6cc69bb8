package main

import (
	"errors"
	"net"
	"os"
)

// wantsDescriptor returns false: Windows cannot pass descriptors.
func wantsDescriptor(_, _ *os.File) bool { return false }

func isOpenSSH() bool { return false }

func givesPipes(_, _ *os.File) bool { return false }

func passDescriptor(*os.File, *net.UnixConn) error { return errors.ErrUnsupported }

func parentErrors() *os.File { return nil }
