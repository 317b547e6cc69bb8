package layers

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"sync"
	"time"

	"keyway/internal/imagetar"
	"keyway/internal/keyway"
)

// Archive writes the image of p as docker save does. The lowest layers, which are not
// held, are only named in it.
func (h *Held) Archive(w io.Writer, p keyway.Pull) error {
	config := sha256.Sum256(p.Config)
	m := imagetar.Manifest{Config: hex.EncodeToString(config[:]) + ".json"}
	out := tar.NewWriter(w)
	for i, l := range p.Layers {
		name := l.Digest[len("sha256:"):] + ".tar"
		m.Layers = append(m.Layers, name)
		if h.files[i] == nil {
			continue
		}
		if err := imagetar.Add(out, name, l.Size, io.NewSectionReader(h.files[i], 0, l.Size)); err != nil {
			return err
		}
	}
	if err := imagetar.Add(out, m.Config, int64(len(p.Config)), bytes.NewReader(p.Config)); err != nil {
		return err
	}
	return m.End(out)
}

// reportEvery is the interval between two reports.
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
