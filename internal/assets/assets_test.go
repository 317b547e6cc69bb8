package assets

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"runtime"
	"testing"
)

// check fails unless the program unpacks to an executable with the hash that
// places and caches know it by.
func check(t *testing.T, what string, p Program) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(p.Gzip))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != p.Hash {
		t.Errorf("%s has hash %x and is said to have %q", what, sum, p.Hash)
	}
	if !bytes.HasPrefix(data, []byte("\x7fELF")) {
		t.Errorf("%s is no Linux program", what)
	}
}

// TestEmbedded checks the embedded programs, if there are any. Build tags decide that; make size
// tests with them.
func TestEmbedded(t *testing.T) {
	for arch := range guests {
		p, ok := Guest(arch)
		if !ok || arch != runtime.GOARCH {
			t.Errorf("a guest for %s in a program for %s", arch, runtime.GOARCH)
		}
		check(t, "guest for "+arch, p)
	}
	for arch := range nodes {
		p, ok := Node(arch)
		if !ok {
			t.Errorf("no node for %s", arch)
		}
		check(t, "node for "+arch, p)
		guest, ok, err := GuestOf(arch)
		if err != nil || !ok || !bytes.HasPrefix(guest, []byte("\x7fELF")) {
			t.Errorf("no guest in the node for %s: %v", arch, err)
		}
		if p, ok = Jupyter(arch); !ok {
			t.Fatalf("a node and no keyway-jupyter for %s", arch)
		}
		check(t, "keyway-jupyter for "+arch, p)
	}
}

func TestUnknownArchitecture(t *testing.T) {
	if _, ok := Guest("vax"); ok {
		t.Error("a guest for the VAX")
	}
	if _, ok := Node("vax"); ok {
		t.Error("a node for the VAX")
	}
	if _, ok := Jupyter("vax"); ok {
		t.Error("a keyway-jupyter for the VAX")
	}
}

// TestFind checks that the guest is found among all programs that a node carries, and only by its
// hash.
func TestFind(t *testing.T) {
	packed := func(program string) []byte {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression) // as pack does
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write([]byte(program)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	node := bytes.Join([][]byte{[]byte("node"), []byte(packedMagic), packed("another"), packed("guest"), []byte("rest")}, []byte("..."))
	sum := sha256.Sum256([]byte("guest"))
	hash := hex.EncodeToString(sum[:])
	if got, err := find(node, hash); err != nil || string(got) != "guest" {
		t.Errorf("found %q, %v", got, err)
	}
	for what, data := range map[string][]byte{"none": []byte("node"), "cut": node[:len(node)-10], "another's": packed("another")} {
		if got, err := find(data, hash); err == nil {
			t.Errorf("%s: found %q", what, got)
		}
	}
	if _, ok, err := GuestOf("vax"); ok || err != nil {
		t.Errorf("a guest for the VAX: %v", err)
	}
}

func TestLookup(t *testing.T) {
	all := map[string]embedded{"amd64": {gzip: []byte{1}, hash: "abc\n"}}
	if p, ok := lookup(all, "amd64"); !ok || p.Hash != "abc" || len(p.Gzip) != 1 {
		t.Errorf("got %v, %v", p, ok)
	}
}
