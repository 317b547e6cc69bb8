// Command pack turns a program into the two files that package assets embeds:
// NAME.gz and, beside it, NAME.sha256 with the hash of the program itself. The
// same program gives the same bytes on every machine.
//
//	go run ./internal/assets/pack PROGRAM DIR/NAME
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"

	"keyway/internal/keyway"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pack PROGRAM DIR/NAME")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func pack(program, name string) error {
	data, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	packed, err := compress(data)
	if err != nil {
		return err
	}
	if err := keyway.WriteFile(name+".gz", packed, 0o644); err != nil {
		return err
	}
	return keyway.WriteFile(name+".sha256", fmt.Appendf(nil, "%x\n", sha256.Sum256(data)), 0o644)
}

// compress leaves name and time out of the header, or no two builds would be
// the same.
func compress(data []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
