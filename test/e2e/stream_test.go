//go:build linux

package e2e

import (
	"testing"
	"time"

	"keyway/test/lab"
)

// TestBastionDies kills every sshd process of the bastion again and again while
// files are copied in both directions: the copies must not notice.
func TestBastionDies(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	if err := w.unlockAndUp(); err != nil {
		t.Fatal(err)
	}
	w.must(t, "sh", "-c", "head -c 200000000 /dev/urandom >/root/data")
	copied := make(chan result, 1)
	go func() {
		copied <- w.do("sh", "-c", "scp -q data train:data && scp -q train:data back && cmp data back")
	}()
	for kills := 0; ; kills++ {
		select {
		case r := <-copied:
			if r.code != 0 || r.stderr != "" {
				t.Error(r)
			}
			if kills < 2 {
				t.Errorf("the bastion was killed only %d times", kills)
			}
			return
		case <-time.After(500 * time.Millisecond): // of copying, before the next kill
		}
		w.Bastion.KillSSHD()
		if err := w.Bastion.StartSSHD(); err != nil {
			t.Fatal(err)
		}
		// It also waits until the way is up again.
		holds(t, "keyway status", w.must(t, "keyway", "status", "gpu1"), "ssh:      train")
	}
}
