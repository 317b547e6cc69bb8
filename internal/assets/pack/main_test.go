package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestPack(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	want := bytes.Repeat([]byte("keyway "), 1000)
	if err := os.WriteFile(program, want, 0o700); err != nil {
		t.Fatal(err)
	}
	var packed [2][]byte
	for i := range packed {
		name := filepath.Join(dir, "packed")
		if err := pack(program, name); err != nil {
			t.Fatal(err)
		}
		var err error
		if packed[i], err = os.ReadFile(name + ".gz"); err != nil {
			t.Fatal(err)
		}
		// printf 'keyway %.0s' {1..1000} | sha256sum
		const hash = "a1dd674e4c63d1560d28aaa8ac1cbbe0797b7d0a2c87f1e5f96a2c3355a4943c\n"
		if got, err := os.ReadFile(name + ".sha256"); err != nil || string(got) != hash {
			t.Errorf("hash %q, %v", got, err)
		}
	}
	if !bytes.Equal(packed[0], packed[1]) {
		t.Error("two times the same program, two results")
	}
	z, err := gzip.NewReader(bytes.NewReader(packed[0]))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, want) {
		t.Errorf("unpacks to %d bytes, %v", len(got), err)
	}
}

func TestPackWithoutProgram(t *testing.T) {
	dir := t.TempDir()
	if err := pack(filepath.Join(dir, "absent"), filepath.Join(dir, "packed")); err == nil {
		t.Error("no error")
	}
}
