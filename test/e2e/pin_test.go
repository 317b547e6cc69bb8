//go:build linux

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"keyway/internal/keyway"
	"keyway/internal/pin"
	"keyway/test/lab"
)

// pinTemplate is a template with something of each kind that can differ.
const pinTemplate = `services:
  env:
    image: proj:1
    user: "0"
    shm_size: 64mb
    volumes: ["/srv/data:/mnt/data:ro"]
    environment: {SEED: "17"}
`

// plantPackages puts packages of pip and of dpkg into an image.
const plantPackages = `set -e
S=/usr/local/lib/python3.99/site-packages
mkdir -p $S/numpy-2.1.0.dist-info $S/torch-2.8.0+cu126.dist-info $S/torch $S/nvidia_nccl_cu12-2.27.3.dist-info /var/lib/dpkg
echo "cuda = '12.6'" >$S/torch/version.py
echo 'x = 1' >/usr/local/lib/tool.py
printf 'Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\n\n' >/var/lib/dpkg/status
`

// smi is a driver that tells of one GPU, as the file /tmp/model names it.
const smi = `#!/bin/sh
[ "$*" = "-q -x" ] || exit 2
cat <<END
<?xml version="1.0" ?>
<nvidia_smi_log><driver_version>$(cat /srv/driver)</driver_version><cuda_version>12.4</cuda_version><attached_gpus>1</attached_gpus>
<gpu id="0"><product_name>NVIDIA Lab</product_name><uuid>GPU-lab-0</uuid><minor_number>0</minor_number><processes></processes></gpu></nvidia_smi_log>
END
`

// pinWorld is a lab whose laptop has that template, and the place its image.
func pinWorld(t *testing.T) *world {
	t.Helper()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	for _, argv := range [][]string{{"keyway", "init", "--yes"}, {"keyway", "unlock"}, {"mkdir", "/root/proj"}} {
		w.must(t, argv...)
	}
	w.write(t, "/root/proj/keyway.yaml", pinTemplate)
	for path, text := range map[string]string{"/srv/data/set": "data", "/srv/driver": "550.54.14", "/usr/local/bin/nvidia-smi": smi} {
		if err := w.GPU.WriteFile(path, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.image(t, "proj:1", plantPackages)
	return w
}

// image makes an image of Base with what a script does in it.
func (w *world) image(t *testing.T, name, script string) {
	t.Helper()
	id := strings.TrimSpace(mustDocker(t, w, "create", string(lab.Base), "bash", "-c", script))
	mustDocker(t, w, "start", "-a", id)
	mustDocker(t, w, "commit", id, name)
	mustDocker(t, w, "rm", id)
}

func (w *world) inProject(argv ...string) result {
	return w.do(append([]string{"env", "-C", "/root/proj"}, argv...)...)
}

// drift is what keyway drift --json tells.
func (w *world) drift(t *testing.T, wantCode int) []pin.Difference {
	t.Helper()
	r := w.inProject("keyway", "drift", "--json")
	var told struct {
		Differences []pin.Difference
		Compared    []string
	}
	if err := json.Unmarshal([]byte(r.Stdout), &told); err != nil || r.Code != wantCode || len(told.Compared) == 0 {
		t.Fatalf("want exit code %d of a comparison, %v: %s", wantCode, err, r)
	}
	return told.Differences
}

// TestDrift plants changes one at a time in a workspace that was pinned, in its image, in
// how it was made, in its place and in the lock: each is found and named.
func TestDrift(t *testing.T) {
	t.Parallel()
	w := pinWorld(t)
	drifted := keyway.ExitCode(keyway.Errorf(keyway.Drifted, ""))
	up := func(args ...string) {
		t.Helper()
		if r := w.inProject(append([]string{"keyway", "up", "env", "--on", "gpu1"}, args...)...); r.Code != 0 {
			t.Fatal(r)
		}
	}
	if r := w.inProject("keyway", "drift"); r.Code != keyway.ExitCode(keyway.Errorf(keyway.NotFound, "")) || !strings.Contains(r.Stderr, "keyway pin") {
		t.Errorf("without a lock: %s", r)
	}
	up()
	r := w.inProject("keyway", "pin")
	for _, says := range []string{"gpu1/env", "torch 2.8.0+cu126", "CUDA 12.6", "NCCL 2.27.3", "keyway.lock"} {
		if r.Code != 0 || !strings.Contains(r.Stdout, says) {
			t.Fatalf("want %q: %s", says, r)
		}
	}
	if d := w.drift(t, 0); len(d) != 0 {
		t.Fatalf("just pinned, and it differs: %+v", d)
	}
	w.run(t)
	if d := w.drift(t, 0); len(d) != 0 {
		t.Fatalf("after a run it differs: %+v", d)
	}

	only := func(what, field, name string) {
		t.Helper()
		d := w.drift(t, drifted)
		if len(d) == 0 || d[0].Field != field || !strings.Contains(d[0].Name+d[0].Want+d[0].Found, name) || slices.ContainsFunc(d, func(o pin.Difference) bool { return o.Field != field }) {
			t.Errorf("%s: %+v, want %s %s alone", what, d, field, name)
		}
	}
	inside := func(what, field, name, do, undo string) {
		t.Helper()
		w.must(t, "ssh", "env", do)
		only(what, field, name)
		w.must(t, "ssh", "env", undo)
	}
	site := "/usr/local/lib/python3.99/site-packages"
	inside("pip", "pip", "numpy", "mkdir "+site+"/numpy-2.2.0.dist-info", "rmdir "+site+"/numpy-2.2.0.dist-info")
	inside("apt", "packages", "libc6", "sed -i s/2.36-9/2.36-10/ /var/lib/dpkg/status", "sed -i s/2.36-10/2.36-9/ /var/lib/dpkg/status")
	if err := w.GPU.WriteFile("/srv/driver", "560.1", 0o644); err != nil {
		t.Fatal(err)
	}
	only("the driver", "driver", "560.1")
	if err := w.GPU.WriteFile("/srv/driver", "550.54.14", 0o644); err != nil {
		t.Fatal(err)
	}
	w.lockSays(t, only)

	again := func(what, field, name string, args ...string) {
		t.Helper()
		w.must(t, "keyway", "rm", "env")
		up(args...)
		only(what, field, name)
	}
	w.must(t, "ssh", "env", "echo 'x = 2' >/usr/local/lib/tool.py")
	only("a file", "file", "/usr/local/lib/tool.py")
	again("a variable", "env", "SEED", "-e", "SEED=18")
	again("a mount", "mount", "/mnt/more", "-v", "/srv/data:/mnt/more")
	again("shared memory", "shm", "134217728", "--shm-size", "128mb")
	again("the user", "user", "1000", "--user", "1000:1000")
	w.image(t, "other:1", plantPackages+"mkdir /opt/more\n")
	mustDocker(t, w, "tag", "other:1", "proj:1")
	again("a tag that was moved", "image", "sha256:")
	if r := w.inProject("keyway", "up", "env", "--on", "gpu1", "--pinned", "--name", "second"); r.Code != keyway.ExitCode(keyway.Errorf(keyway.ImageNotFound, "")) {
		t.Errorf("the pinned image is gone, and no registry has it: %s", r)
	}
	text := w.inProject("keyway", "drift", "--ignore", "image")
	if text.Code != 0 || !strings.Contains(text.Stdout, "nothing differs") {
		t.Errorf("what is ignored differs: %s", text)
	}
	text = w.inProject("keyway", "drift")
	if text.Code != drifted || !strings.Contains(text.Stdout, "gpu1/env") || !strings.Contains(text.Stdout, "FIELD") {
		t.Errorf("a table: %s", text)
	}
}

// run is what a training run does: it imports, writes, downloads, compiles and logs.
func (w *world) run(t *testing.T) {
	t.Helper()
	w.must(t, "keyway", "run", "env", "--", "python3", "-c", `
import os, json, py_compile, sys, subprocess
for d in ("/workspace/out", "/root/.cache/torch/extensions", "/root/.triton/cache", "/var/log/app", "/usr/local/lib/__pycache__"):
    os.makedirs(d, exist_ok=True)
sys.path.insert(0, "/usr/local/lib"); import tool
py_compile.compile("/usr/local/lib/tool.py")
for i in range(20):
    open("/workspace/out/checkpoint-%d.pt" % i, "wb").write(os.urandom(1 << 16))
open("/root/.cache/model.safetensors", "wb").write(os.urandom(1 << 20))
open("/root/.cache/torch/extensions/kernel.so", "wb").write(b"\x7fELF")
open("/root/.triton/cache/k.cubin", "wb").write(b"x")
open("/var/log/app/run.log", "w").write("x")
open("/tmp/scratch", "w").write("x"); os.remove("/tmp/scratch")
open("/root/.bash_history", "a").write("python train.py\n")
open("/workspace/out/loss.json", "w").write(json.dumps([1, 0.5]))
`)
}

// lockSays changes the lock, in which a kernel, a GPU or an architecture may stand that
// this machine cannot be made to have.
func (w *world) lockSays(t *testing.T, only func(what, field, name string)) {
	t.Helper()
	const path = "/root/proj/" + pin.FileName
	text, err := w.Laptop.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := pin.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	plant := func(what, field, name string, change func(*pin.Pin)) {
		t.Helper()
		p := lock.Pins[0]
		change(&p)
		changed, err := json.Marshal(pin.Lock{}.With(p))
		if err != nil {
			t.Fatal(err)
		}
		w.write(t, path, string(changed))
		only(what, field, name)
	}
	plant("the kernel", "kernel", "1.2.3", func(p *pin.Pin) { p.Kernel = "1.2.3" })
	plant("a GPU", "gpu", "NVIDIA A100", func(p *pin.Pin) { p.GPUs = []string{"NVIDIA A100"} })
	plant("the architecture", "arch", "riscv64", func(p *pin.Pin) { p.Arch = "riscv64" })
	if r := w.inProject("keyway", "up", "env", "--on", "gpu1", "--pinned", "--name", "second"); r.Code == 0 || !strings.Contains(r.Stderr, "riscv64") {
		t.Errorf("a lock of another architecture: %s", r)
	}
	w.write(t, path, strings.Replace(text, `"seen": true`, `"seen": false`, 1))
	only("the lock", "lock", "other means")
	if r := w.inProject("keyway", "up", "env", "--on", "gpu1", "--pinned", "--name", "second"); r.Code == 0 || !strings.Contains(r.Stderr, "other means") {
		t.Errorf("a lock that was changed: %s", r)
	}
	w.write(t, path, "{")
	if r := w.inProject("keyway", "drift"); r.Code != keyway.ExitCode(keyway.Errorf(keyway.BadConfig, "")) {
		t.Errorf("no lock at all: %s", r)
	}
	w.write(t, path, text)
}
