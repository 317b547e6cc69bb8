//go:build linux

package e2e

import (
	"strings"
	"testing"

	"keyway/test/lab"
)

// TestStaticImage checks a workspace of an image that has one static program and nothing else: no
// shell, no libraries, no passwd, no /tmp.
func TestStaticImage(t *testing.T) {
	t.Parallel()
	w := shared
	w.up(t, "static", "--image", string(lab.Static))
	equal(t, "a program", w.must(t, "ssh", "static", "/labtool say 'two  words' it\\'s"), "two  words it's\n")
	equal(t, "standard input", w.mustFeed(t, "fed", "ssh", "static", "/labtool copy"), "fed")
	equal(t, "a job", w.must(t, "keyway", "run", "static", "--", "/labtool", "say", "job"), "job\n")
	w.write(t, "/root/static.in", "copied")
	for _, protocol := range []string{"-s", "-O"} {
		w.must(t, "scp", "-q", protocol, "/root/static.in", "static:/file")
		w.must(t, "scp", "-q", protocol, "static:/file", "/root/static.out")
		if got, err := w.Laptop.ReadFile("/root/static.out"); got != "copied" {
			t.Errorf("scp %s: came back as %q, %v", protocol, got, err)
		}
	}
	for _, argv := range [][]string{{"ssh", "static", "bash"}, {"ssh", "-tt", "static"}, {"ssh", "static", "ls | cat"}} {
		if r := w.do(argv...); r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, "shell") && !strings.Contains(r.Stderr, "bash") {
			t.Errorf("want a sentence about the missing shell: %s", r)
		}
	}
}

func TestBusyboxImage(t *testing.T) {
	t.Parallel()
	w := shared
	w.up(t, "bb", "--image", string(lab.Busybox))
	equal(t, "a shell", w.must(t, "ssh", "bb", "echo $((6*7))"), "42\n")
	// It has no passwd and no home directory: one is made up.
	w.mustFeed(t, "fed", "ssh", "bb", "cd && cat >file && cat file && whoami")
	equal(t, "a script on standard input", w.mustFeed(t, "echo $0\n", "ssh", "-T", "bb", "sh"), "sh\n")
}

// TestNonRootReadOnly checks a workspace as a cautious cluster permits it.
func TestNonRootReadOnly(t *testing.T) {
	t.Parallel()
	w := shared
	w.up(t, "ro", "--image", string(lab.NonRoot), "--read-only")
	equal(t, "who and where", w.must(t, "ssh", "ro", "id -u; id -un; pwd"), "1000\ndev\n/home/dev\n")
	// Editors need a home directory that can be written to.
	w.mustFeed(t, "fed", "ssh", "ro", "cat >~/file && test -s ~/file")
	if r := w.do("ssh", "ro", "touch /home/dev/x"); r.Code == 0 || !strings.Contains(r.Stderr, "Read-only") {
		t.Errorf("a read-only file system: %s", r)
	}
	w.mustFeed(t, "fed", "ssh", "ro", "cat >/dev/shm/x")
	w.must(t, "scp", "-q", "ro:/dev/shm/x", "/root/ro.out")
	if r := w.do("keyway", "run", "ro", "--", "sh", "-c", "id -u; exit 3"); r.Code != 3 || r.Stdout != "1000\n" {
		t.Errorf("a job: %s", r)
	}
	w.up(t, "other", "--image", string(lab.Base), "--user", "1000055:1000055")
	holds(t, "a user that the image does not know", w.must(t, "ssh", "other", "id -u; whoami; ls -d ~"), "1000055\n")
}

// TestTemplate checks that the options of keyway up take effect in the workspace, and that no port
// is published.
func TestTemplate(t *testing.T) {
	t.Parallel()
	w := shared
	if err := w.GPU.WriteFile("/srv/data/set", "data", 0o644); err != nil {
		t.Fatal(err)
	}
	w.up(t, "full", "--image", string(lab.Base), "--shm-size", "2gb", "-v", "/srv/data:/mnt/data:ro", "-e", "KEY=a b", "--workdir", "/srv")
	equal(t, "inside", w.must(t, "ssh", "full", `cat /mnt/data/set; echo; echo "$KEY"; pwd; df -k --output=size /dev/shm | tail -n 1 | tr -d ' '`), "data\na b\n/srv\n2097152\n")
	if r := w.do("ssh", "full", "touch /mnt/data/x"); r.Code == 0 {
		t.Errorf("a read-only mount was written to: %s", r)
	}
	equal(t, "published ports", mustDocker(t, w, "port", containerOf(t, w, "full")), "")
}

func mustDocker(t *testing.T, w *world, args ...string) string {
	t.Helper()
	out, err := w.Docker(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// containerOf returns the id of a workspace's container.
func containerOf(t *testing.T, w *world, name string) string {
	t.Helper()
	for line := range strings.Lines(mustDocker(t, w, "ps", "-a", "--format", "{{.ID}} {{.Names}} {{.Labels}}")) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.Contains(rest, "="+name+",") || strings.HasSuffix(rest, "="+name) || strings.Contains(strings.Fields(rest)[0], name) {
			return id
		}
	}
	t.Fatalf("no container of %s", name)
	return ""
}

// TestImageFile copies an image from a machine to a file and back, and checks that it is the same.
func TestImageFile(t *testing.T) {
	t.Parallel()
	w := shared
	const image = "keyway-lab-file:1"
	mustDocker(t, w, "tag", string(lab.Busybox), image)
	id := strings.TrimSpace(mustDocker(t, w, "image", "inspect", "--format", "{{.Id}}", image))
	holds(t, "saved", w.must(t, "keyway", "image", "copy", "gpu1", "/root/file.tar", image), "/root/file.tar has "+image)
	mustDocker(t, w, "rmi", image)
	holds(t, "loaded", w.must(t, "keyway", "image", "copy", "/root/file.tar", "gpu1"), "gpu1 has "+image)
	equal(t, "the image", strings.TrimSpace(mustDocker(t, w, "image", "inspect", "--format", "{{.Id}}", image)), id)
	holds(t, "by another name", w.must(t, "keyway", "image", "copy", "/root/file.tar", "gpu1", "keyway-lab-file:2", "--json"), `"image":"keyway-lab-file:2"`)
	w.write(t, "/root/odd.tar", "no archive")
	for _, argv := range [][]string{{"/root/odd.tar", "gpu1"}, {"/root/none.tar", "gpu1"}, {"/root/file.tar", "/root/other.tar"}, {"gpu1", "/root/x.tar"}, {"gpu1", "/root", image}} {
		if r := w.do(append([]string{"keyway", "image", "copy"}, argv...)...); r.Code != 2 || !strings.Contains(r.Stderr, "keyway: ") {
			t.Errorf("%q: %s", argv, r)
		}
	}
	mustDocker(t, w, "rmi", image, "keyway-lab-file:2")
}
