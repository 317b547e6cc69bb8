package assets

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
)

// guestHashes has the hashes of the guests that the nodes for each architecture carry.
var guestHashes = map[string]string{}

// packedMagic is the beginning of each file that the pack command makes.
const packedMagic = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"

// maxProgram bounds a program in bytes.
const maxProgram = 64 << 20

// GuestOf returns the guest program for Linux on the architecture, which is inside of the
// node for it: a laptop carries no other copy. It reports false if there is no such node.
func GuestOf(arch string) (program []byte, ok bool, err error) {
	node, ok := Node(arch)
	if !ok {
		return nil, false, nil
	}
	data, err := unpack(node.Gzip)
	if err != nil {
		return nil, true, err
	}
	program, err = find(data, strings.TrimSpace(guestHashes[arch]))
	return program, true, err
}

// find returns the packed program in data that has the hash.
func find(data []byte, hash string) ([]byte, error) {
	for at := 0; ; at++ {
		next := bytes.Index(data[at:], []byte(packedMagic))
		if next < 0 {
			return nil, errors.New("the node carries no guest")
		}
		at += next
		if program, err := unpack(data[at:]); err == nil {
			if sum := sha256.Sum256(program); hex.EncodeToString(sum[:]) == hash {
				return program, nil
			}
		}
	}
}

// unpack returns the one program that data begins with.
func unpack(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return io.ReadAll(io.LimitReader(z, maxProgram))
}
