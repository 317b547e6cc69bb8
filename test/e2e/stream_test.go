//go:build linux

package e2e

import (
	"strings"
	"testing"
	"time"

	"keyway/test/lab"
)

// TestBastionDies kills all sshd processes of the bastion repeatedly while files are copied in both
// directions. It checks that the copies succeed.
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
	const most = 15 // on a slow machine the copy would hardly progress between the kills
	for kills := 0; ; kills++ {
		var next <-chan time.Time
		if kills < most {
			next = time.After(500 * time.Millisecond) // of copying
		}
		select {
		case r := <-copied:
			if r.Code != 0 || r.Stderr != "" {
				t.Error(r)
			}
			if kills < 2 {
				t.Errorf("the bastion was killed only %d times", kills)
			}
			return
		case <-next:
		}
		w.Bastion.KillSSHD()
		if err := w.Bastion.StartSSHD(); err != nil {
			t.Fatal(err)
		}
		w.must(t, "keyway", "status", "gpu1") // waits until the uplink is up again
	}
}

// TestNewBuildOfTheLink lets two builds of keyway replace each other's link while a file is copied
// through it. It checks that the copy is complete.
func TestNewBuildOfTheLink(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	if err := w.unlockAndUp(); err != nil {
		t.Fatal(err)
	}
	w.must(t, "sh", "-c", "cp $(command -v keyway) /root/other; head -c 200000000 /dev/urandom >/root/data")
	copied := make(chan result, 1)
	go func() {
		copied <- w.do("sh", "-c", "scp -q data train:data && scp -q train:data back && cmp data back")
	}()
	first := func(program string) string {
		line, _, _ := strings.Cut(w.must(t, program, "status"), ",") // link: process N
		return line
	}
	link := first("keyway")
	for range 2 {
		for _, program := range []string{"/root/other", "keyway"} {
			next := first(program)
			if next == link {
				t.Errorf("%s goes on with the other build's link (%s)", program, link)
			}
			link = next
		}
	}
	if r := <-copied; r.Code != 0 || r.Stderr != "" {
		t.Error(r)
	}
}
