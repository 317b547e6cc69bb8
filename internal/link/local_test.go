package link

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"keyway/internal/keyway"
)

// TestLocalNodeIsUnpackedOnce checks that the local place is bootstrapped as every other is, if no
// program that is there can be its node.
func TestLocalNodeIsUnpackedOnce(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	hash, opened := hex.EncodeToString(sum[:]), 0
	programs := Programs{runtime.GOARCH: {Hash: hash, Open: func() (io.ReadCloser, int64, error) {
		opened++
		return io.NopCloser(bytes.NewReader(packed.Bytes())), int64(packed.Len()), nil
	}}}
	for range 2 {
		if _, err := LocalInfo(t.Context(), "", programs); err != nil {
			t.Fatal(err)
		}
	}
	if opened != 1 {
		t.Errorf("the program was unpacked %d times", opened)
	}
	if got, err := os.ReadFile(filepath.Join(cache, "keyway", "keyway-"+hash)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the cache has %d bytes, %v", len(got), err)
	}
}

func TestNoNodeForThisMachine(t *testing.T) {
	if _, err := LocalInfo(t.Context(), "", nil); !keyway.Is(err, keyway.VersionMismatch) {
		t.Errorf("got %v", err)
	}
}
