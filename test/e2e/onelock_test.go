//go:build linux

package e2e

import (
	"strings"
	"testing"

	"keyway/internal/keyway"
	"keyway/internal/pin"
	"keyway/test/lab"
	"keyway/test/lab/run"
)

// lockTemplate is the template of both users. Its tag moves between them.
const lockTemplate = `services:
  env:
    image: 127.0.0.1:5000/lab/tool:1
    user: "0"
    environment: {SEED: "17"}
    shm_size: 64mb
`

// TestOneLockTwoMachines makes one environment from one keyway.lock for two users, each with a
// laptop, a bastion and a GPU machine of their own. The tag of the template has moved before the
// second user comes. The test checks that the environments are identical.
func TestOneLockTwoMachines(t *testing.T) {
	t.Parallel()
	ada := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Busybox}})
	ben := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Busybox}})
	serveRegistry(t, ada.Laptop, ada.GPU, ben.Laptop, ben.GPU)
	push := func(content string) {
		t.Helper()
		id := strings.TrimSpace(mustDocker(t, ada, "create", string(lab.Busybox), "sh", "-c", "echo "+content+" >/content"))
		mustDocker(t, ada, "start", "-a", id)
		mustDocker(t, ada, "commit", id, "127.0.0.1:5000/lab/tool:1")
		mustDocker(t, ada, "rm", id)
		mustDocker(t, ada, "push", "-q", "127.0.0.1:5000/lab/tool:1")
	}
	push("first")
	for _, w := range []*world{ada, ben} {
		for _, argv := range [][]string{{"keyway", "init", "--yes"}, {"keyway", "unlock"}, {"mkdir", "/root/proj"}} {
			w.must(t, argv...)
		}
		w.write(t, "/root/proj/keyway.yaml", lockTemplate)
	}
	if r := ada.inProject("keyway", "up", "env", "--on", "gpu1"); r.Code != 0 {
		t.Fatal(r)
	}
	if r := ada.inProject("keyway", "pin"); r.Code != 0 {
		t.Fatal(r)
	}
	push("second")
	lock, err := ada.Laptop.ReadFile("/root/proj/" + pin.FileName)
	if err != nil {
		t.Fatal(err)
	}
	ben.write(t, "/root/proj/"+pin.FileName, lock)
	if r := ben.inProject("keyway", "up", "env", "--on", "gpu1", "--pinned"); r.Code != 0 {
		t.Fatal(r)
	}
	// Every file of the root file system with its mode, and every variable but those of
	// the connection.
	const whole = `find / -xdev -type f ! -path '/proc/*' ! -path '/.keyway/*' ! -name hostname ! -name hosts ! -name resolv.conf -exec sha256sum {} + | sort -k2
find / -xdev ! -path '/proc/*' ! -path '/.keyway/*' ! -type s -exec stat -c '%A %u:%g %n' {} + | sort
env | grep -v '^\(SSH_\|KEYWAY_\|HOSTNAME\|SHLVL\|_=\)' | sort; cat /content; df -m /dev/shm | awk 'END {print $2}'; id`
	first, second := ada.must(t, "ssh", "env", whole), ben.must(t, "ssh", "env", whole)
	if first != second || !strings.Contains(first, "/bin/busybox") || !strings.Contains(first, "\nfirst\n64\nuid=0") {
		t.Errorf("two environments of one lock:\n%s\nand\n%s", run.Clip(first), run.Clip(second))
	}
	for _, w := range []*world{ada, ben} {
		equal(t, "the image", mustDocker(t, w, "inspect", "--format", "{{.Image}}", w.onlyContainer(t)), mustDocker(t, ada, "inspect", "--format", "{{.Image}}", ada.onlyContainer(t)))
	}
	if r := ben.inProject("keyway", "drift", "--ignore", "tag"); r.Code != 0 {
		t.Errorf("drift of the second: %s", r)
	}
	if d := ben.drift(t, keyway.ExitCode(keyway.Errorf(keyway.Drifted, ""))); len(d) != 1 || d[0].Field != "tag" || d[0].Where != "the registry" {
		t.Errorf("a tag that has moved: %+v", d)
	}
}
