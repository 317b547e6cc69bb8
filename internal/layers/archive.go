package layers

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"sync"
	"time"

	"keyway/internal/keyway"
)

// Archive writes the image of p as docker save does. The lowest layers, which are not
// held, are only named in it.
func (h *Held) Archive(w io.Writer, p keyway.Pull) error {
	config := sha256.Sum256(p.Config)
	manifest := []struct {
		Config string
		Layers []string
	}{{Config: hex.EncodeToString(config[:]) + ".json"}}
	out := tar.NewWriter(w)
	for i, l := range p.Layers {
		name := l.Digest[len("sha256:"):] + ".tar"
		manifest[0].Layers = append(manifest[0].Layers, name)
		if h.files[i] == nil {
			continue
		}
		if err := copyFile(out, name, h.files[i], l.Size); err != nil {
			return err
		}
	}
	text, err := json.Marshal(manifest)
	if err == nil {
		err = writeFile(out, manifest[0].Config, bytes.NewReader(p.Config), int64(len(p.Config)))
	}
	if err == nil {
		err = writeFile(out, "manifest.json", bytes.NewReader(text), int64(len(text)))
	}
	if err != nil {
		return err
	}
	return out.Close()
}

func copyFile(out *tar.Writer, name string, f *os.File, size int64) error {
	return writeFile(out, name, io.NewSectionReader(f, 0, size), size)
}

func writeFile(out *tar.Writer, name string, r io.Reader, size int64) error {
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size}); err != nil {
		return err
	}
	_, err := io.Copy(out, r)
	return err
}

// reportEvery is how often people see a new number.
const reportEvery = 100 * time.Millisecond

// teller adds up what all layers have.
type teller struct {
	report func(keyway.Progress)

	mu   sync.Mutex
	p    keyway.Progress
	last time.Time
}

func newTeller(p keyway.Pull, from int, report func(keyway.Progress)) *teller {
	t := &teller{report: report, p: keyway.Progress{Message: "pulling " + p.Image}}
	for _, i := range once(p.Layers, from) {
		t.p.Total += p.Layers[i].Size
	}
	return t
}

func (t *teller) add(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.p.Done += n; time.Since(t.last) > reportEvery || t.p.Done == t.p.Total {
		t.last = time.Now()
		t.report(t.p)
	}
}
