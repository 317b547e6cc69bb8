//go:build linux

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"syscall"
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
    gpus: [{count: 1}]
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

// pinned is a lab whose laptop has that template, and the place its image and GPUs.
type pinned struct {
	*world
	smi *lab.FakeSMI
}

func pinWorld(t *testing.T) pinned {
	t.Helper()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	smi, err := w.AddGPUs(3)
	if err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"keyway", "init", "--yes"}, {"keyway", "unlock"}, {"mkdir", "/root/proj"}} {
		w.must(t, argv...)
	}
	w.write(t, "/root/proj/keyway.yaml", pinTemplate)
	if err := w.GPU.WriteFile("/srv/data/set", "data", 0o644); err != nil {
		t.Fatal(err)
	}
	w.image(t, "proj:1", plantPackages)
	return pinned{w, smi}
}

// image makes an image of Base and the changes of a script.
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

// drift returns the differences that keyway drift --json reports.
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

// TestDrift makes one change at a time: in a pinned workspace, in its image, in its settings, in
// its place and in the lock. It checks that each is found and named.
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
	inside("useradd", "account", "user grace", "echo grace:x:2000:2000::/home/grace:/bin/sh >>/etc/passwd", "sed -i /^grace:/d /etc/passwd")
	inside("usermod", "account", "group root", "sed -i /^root:/s/$/grace/ /etc/group", "sed -i /^root:/s/grace// /etc/group")
	w.plantInPlace(t, only)
	w.lockSays(t, only)

	again := func(what, field, name string, args ...string) {
		t.Helper()
		w.must(t, "keyway", "rm", "env")
		up(args...)
		only(what, field, name)
	}
	w.must(t, "ssh", "env", "cd /usr/local/lib && touch -r tool.py /tmp/time && echo 'x = 3' >tool.py && touch -r /tmp/time tool.py")
	only("a file of the same size and time", "file", "/usr/local/lib/tool.py")
	w.must(t, "ssh", "env", "echo 'x = 2' >/usr/local/lib/tool.py")
	only("a file", "file", "/usr/local/lib/tool.py")
	again("a variable", "env", "SEED", "-e", "SEED=18")
	again("a mount", "mount", "/mnt/more", "-v", "/srv/data:/mnt/more")
	again("shared memory", "shm", "134217728", "--shm-size", "128mb")
	again("the user", "user", "1000", "--user", "1000:1000")
	again("the network", "network", "none", "--network", "none")
	w.pinsWhatIsChosen(t)
	w.image(t, "other:1", plantPackages+"mkdir /opt/more\n")
	mustDocker(t, w.world, "tag", "other:1", "proj:1")
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

// pinsWhatIsChosen pins settings that no template can have. A lock that has them chooses nothing.
func (w *world) pinsWhatIsChosen(t *testing.T) {
	t.Helper()
	const path = "/root/proj/" + pin.FileName
	before, err := w.Laptop.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if r := w.inProject("keyway", "pin"); r.Code != 0 {
		t.Errorf("what a template cannot say is refused: %s", r)
	}
	if d := w.drift(t, 0); len(d) != 0 {
		t.Errorf("just pinned, and it differs: %+v", d)
	}
	w.must(t, "keyway", "rm", "env")
	r := w.inProject("keyway", "up", "env", "--on", "gpu1", "--pinned")
	if r.Code != keyway.ExitCode(keyway.Errorf(keyway.Drifted, "")) || !strings.Contains(r.Stderr, "--network none") {
		t.Errorf("a lock with a network, and none was chosen: %s", r)
	}
	if r := w.inProject("keyway", "up", "env", "--on", "gpu1", "--pinned", "--network", "none"); r.Code != 0 {
		t.Errorf("with the network of the lock: %s", r)
	}
	w.write(t, path, before)
}

// run does the work of a training run: it imports, writes, downloads, compiles and logs.
func (w *world) run(t *testing.T) {
	t.Helper()
	w.must(t, "keyway", "run", "env", "--", "python3", "-c", `
import compileall, json, os, py_compile, sqlite3, subprocess, sys, tempfile
def put(path, data=b"x"):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "wb").write(data)
sys.path.insert(0, "/usr/local/lib"); import tool
py_compile.compile("/usr/local/lib/tool.py")
compileall.compile_dir("/usr/lib/python%d.%d/json" % sys.version_info[:2], quiet=1)
for i in range(20):
    put("/workspace/out/checkpoint-%d.pt" % i, os.urandom(1 << 16))
    if i > 2: os.remove("/workspace/out/checkpoint-%d.pt" % (i - 3))
put("/workspace/out/loss.json", json.dumps([1, 0.5]).encode())
put("/workspace/wandb/run-1/run-1.wandb"); put("/workspace/runs/events.out.tfevents.1.host"); put("/workspace/core.4711")
put("/workspace/.ipynb_checkpoints/train-checkpoint.ipynb"); put("/workspace/build/lib.linux/ext.so", b"\x7fELF")
hub = "/root/.cache/huggingface/hub/models--gpt2"
put(hub + "/blobs/0a1b", os.urandom(1 << 20)); os.makedirs(hub + "/snapshots/r1")
os.symlink("../../blobs/0a1b", hub + "/snapshots/r1/model.safetensors"); put("/root/.cache/huggingface/hub/.locks/x.lock", b"")
put("/root/.cache/pip/http-v2/a/b/c"); put("/root/.cache/pip/wheels/ab/x-1-py3-none-any.whl"); put("/root/.conda/pkgs/urls.txt")
put("/root/.cache/torch/extensions/py3/kernel/kernel.so", b"\x7fELF"); put("/root/.cache/torch/hub/checkpoints/resnet.pth")
put("/root/.triton/cache/k/k.cubin"); put("/root/.nv/ComputeCache/index"); put("/tmp/torchinductor_root/fx/g.py")
put("/root/nltk_data/tokenizers/punkt.zip"); put("/root/.keras/datasets/mnist.npz"); put("/root/.config/matplotlib/matplotlibrc"); put("/root/.local/share/jupyter/kernels/x.json")
put("/usr/local/lib/__pycache__/tool.fit-3.py311.nbi"); put("/usr/local/lib/__pycache__/tool.fit-3.py311.1.nbc")
put("/var/log/app/run.log"); put("/var/cache/apt/pkgcache.bin"); put("/var/lib/apt/lists/x_Packages"); put("/etc/ld.so.cache")
put("/root/.bash_history", b"python train.py\n"); put("/root/.python_history"); put("/root/.wget-hsts"); put("/root/.lesshst"); put("/root/.viminfo")
db = sqlite3.connect("/workspace/mlruns.db"); db.execute("create table t (x)"); db.commit(); db.close()
with tempfile.NamedTemporaryFile(dir="/workspace") as f: f.write(b"x")
open("/tmp/scratch", "w").write("x"); os.remove("/tmp/scratch")
os.makedirs("/opt/tool/scratch"); os.rmdir("/opt/tool/scratch")
subprocess.run(["git", "init", "-q", "/workspace/repository"], check=True)
`)
}

// plantInPlace changes the machine around a running workspace.
func (w pinned) plantInPlace(t *testing.T, only func(what, field, name string)) {
	t.Helper()
	driver, model := w.smi.Driver, w.smi.Model
	tell := func(driver, model string) {
		t.Helper()
		w.smi.Driver, w.smi.Model = driver, model
		if err := w.smi.Compute(nil); err != nil {
			t.Fatal(err)
		}
	}
	tell("560.1", model)
	only("the driver", "driver", "560.1")
	tell(driver, "NVIDIA Other")
	only("a GPU", "gpu", "1 × NVIDIA Other 0")
	tell(driver, model)
	w.loginShell(t, oldKernel)
	only("the kernel", "kernel", "2.6.")
	w.loginShell(t, "/bin/bash")
	if d := w.drift(t, 0); len(d) != 0 {
		t.Fatalf("the machine is as it was, and differs: %+v", d)
	}
}

// oldKernel is a shell whose programs see a kernel of version 2.6 (personality(2), UNAME26).
const oldKernel = "/srv/old-kernel"

// loginShell gives root of the GPU machine another shell, and has the node start by it.
func (w pinned) loginShell(t *testing.T, shell string) {
	t.Helper()
	script := "#!/bin/sh\nexec setarch --uname-2.6 /bin/bash \"$@\"\n"
	if err := w.GPU.WriteFile(oldKernel, script, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := w.GPU.Output("sed", "-i", "s|^\\(root:.*\\):[^:]*$|\\1:"+shell+"|", "/etc/passwd"); err != nil {
		t.Fatal(err)
	}
	if err := lab.Kill(syscall.SIGKILL, w.GPU.Nodes()...); err != nil {
		t.Fatal(err)
	}
}

// lockSays changes the lock, which may name an architecture that this machine does not have.
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
