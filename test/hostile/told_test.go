//go:build linux

package hostile

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/pin"
)

// loud returns the lies that could reach a terminal, fill the memory or break a table;
// each costs a command.
func loud(all []lie) []lie {
	return slices.DeleteFunc(all, func(l lie) bool {
		return !slices.ContainsFunc([]string{" is escapes", " is huge", " is very many", " is null"}, func(end string) bool { return strings.HasSuffix(l.what, end) })
	})
}

// TestEveryFieldOfGPUsLies checks that keyway gpus shows a place's report on its GPUs and their
// holders, whatever its content, and changes nothing.
func TestEveryFieldOfGPUsLies(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	l.up("train", l.startGuest())
	before := l.files()
	honest := keyway.GPUReport{Driver: "560.1", CUDA: "12.6",
		GPUs: []keyway.GPU{{Index: "0", UUID: "GPU-1", Model: "NVIDIA A100", Memory: 1 << 34, Used: 1 << 30, Load: 7,
			Holder:    &keyway.GPUHolder{Owner: "ada", Workspace: "train", Engine: "docker"},
			Processes: []keyway.GPUProcess{{PID: 7, Owner: "bob", Command: "python3", Memory: 1 << 30, Compute: true}}}},
		Queue: []keyway.GPUWaiter{{Owner: "eve", Workspace: "next", GPUs: "2", Since: time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)}},
	}
	l.says(gpu1, fileGPUs, encode(honest))
	wants(t, l.keyway("gpus"), 0, "NVIDIA A100", "train of ada", "python3 of bob", "eve")
	all := loud(lies(honest, ""))
	if len(all) < 40 {
		t.Errorf("the generator has lost fields: %d lies", len(all))
	}
	for _, lie := range all {
		l.says(gpu1, fileGPUs, lie.body)
		l.unchanged(before, l.keyway("gpus", "--on", gpu1))
		if t.Failed() {
			t.Fatal(lie.what)
		}
	}
}

// advised returns the lines of keyway's own advice.
func (r result) advised() (lines []string) {
	for line := range strings.Lines(r.stdout + r.stderr) {
		if strings.HasPrefix(strings.TrimSpace(line), "→") {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestEveryFieldOfFactsLies checks that keyway check shows a place's facts as the place's words. No
// advice of keyway's may come from a place.
func TestEveryFieldOfFactsLies(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	l.up("train", l.startGuest())
	before := l.files()
	const image = "pytorch/pytorch:2.8.0-cuda12.6-cudnn9-devel"
	honest := keyway.Facts{
		Arch: "amd64", Time: time.Now(), Memory: 1 << 36,
		Driver: keyway.DriverFacts{Module: "470.1", Library: "470.1", CUDA: "11.4", GPUs: []keyway.GPUFacts{{Model: "Tesla K80", Brand: "Tesla", Compute: "3.7"}}},
		Engine: keyway.EngineFacts{Name: "docker", Images: true, RemoteDaemon: "it runs elsewhere", Free: 1 << 40,
			Image: keyway.ImageFacts{Present: true, Arch: []string{"arm64"}, Env: []string{"CUDA_VERSION=12.6.3", "NVIDIA_REQUIRE_CUDA=cuda>=12.6"}}},
	}
	l.says(gpu1, fileFacts, encode(honest))
	check := []string{"check", "--on", gpu1, "--image", image, "--gpus", "all", "-v", "/data:/data"}
	wants(t, l.keyway(check...), keyway.ExitCode(keyway.Errorf(keyway.ImageNotFound, "")), "built for arm64", "470.1", "NVIDIA_REQUIRE_CUDA", "K80", "gpu1 says: “it runs elsewhere”")
	l.says(gpu1, fileFacts, encode(keyway.Facts{Engine: keyway.EngineFacts{Name: "docker", Why: keyway.Errorf(keyway.EngineDown, "no daemon").Hint("evil")}}))
	wants(t, l.keyway(check...), keyway.ExitCode(keyway.Errorf(keyway.EngineDown, "")), "gpu1 says: no daemon", "gpu1 suggests: evil")

	free := honest
	free.Arch, free.Engine.Image.Arch = "arm64", []string{"arm64"}
	free.Driver, free.Engine.Image.Env = keyway.DriverFacts{}, nil
	free.Engine = keyway.EngineFacts{Name: "docker", Images: true, Runtime: true, DevChar: true, Image: keyway.ImageFacts{Present: true}}
	l.says(gpu1, fileFacts, encode(free))
	held := keyway.GPUReport{Driver: "560.1", GPUs: []keyway.GPU{
		{Index: "0", UUID: "GPU-1", Holder: &keyway.GPUHolder{Owner: "grace", Workspace: "first", Engine: "docker"}},
		{Index: "1", UUID: "GPU-2", Processes: []keyway.GPUProcess{{PID: 7, Owner: "grace", Command: "python3", Compute: true}}},
	}}
	l.says(gpu1, fileGPUs, encode(held))
	wants(t, l.keyway(check...), 0, "gpu1 says: GPU 0 is held by the workspace first of grace; GPU 1 runs the process 7 of grace")
	for _, lie := range loud(lies(held, "")) {
		l.says(gpu1, fileGPUs, lie.body)
		l.repeats(before, l.keyway(check...), lie.what)
	}
	l.says(gpu1, fileGPUs, `{"gpus":[]}`)

	honest.NoGuest = keyway.Errorf(keyway.EngineDown, "down").Hint("look")
	all := loud(lies(honest, ""))
	honest.NoGuest = nil
	all = append(all, loud(lies(honest, ""))...)
	for _, word := range []string{"NVIDIA_REQUIRE_X) → evil (=cuda>99", "NVIDIA_REQUIRE_X\n  → evil=cuda>99"} {
		honest.Engine.Image.Env[1] = word
		all = append(all, lie{"a variable is " + word, encode(honest)})
	}
	if len(all) < 60 {
		t.Errorf("the generator has lost fields: %d lies", len(all))
	}
	for i, lie := range all {
		l.says(gpu1, fileFacts, lie.body)
		l.repeats(before, l.keyway(check...), lie.what)
		if i%5 == 0 {
			l.keyway(append(check, "--json")...)
		}
	}
}

// repeats fails unless a command shows a place's text as the place's, and changes no file.
func (l *laptop) repeats(before map[string]string, r result, lie string) {
	l.t.Helper()
	l.unchanged(before, r)
	for _, line := range r.advised() {
		if strings.Contains(line, "evil") || len(line) > 1000 {
			l.t.Errorf("%s\nadvises as a place has told it", r)
		}
	}
	for line := range strings.Lines(r.stdout + r.stderr) {
		if strings.Contains(line, "evil") && !strings.Contains(line, "gpu1 s") && !strings.HasPrefix(line, "  | ") {
			l.t.Errorf("%s\nsays what a place has said as its own", r)
		}
	}
	if l.t.Failed() {
		l.t.Fatal(lie)
	}
}

// TestEveryFieldOfAnImageLies checks that no place can make another accept a different image from
// the one that was to be copied.
func TestEveryFieldOfAnImageLies(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	before := l.files()
	const gpu2, image = "gpu2", "team/pytorch:1"
	id := "sha256:" + strings.Repeat("a", 64)
	honest := keyway.ImageLayers{Reference: image, ID: id, Arch: "amd64", Layers: []string{"sha256:" + strings.Repeat("b", 64)}, Size: 7}
	l.says(gpu1, fileLayers, encode(honest))
	l.says(gpu2, fileLayers, encode(honest))
	wants(t, l.keyway("image", "copy", gpu1, gpu2, image), 0, "gpu2 has "+image)
	for _, lie := range loud(lies(honest, "")) {
		l.says(gpu2, fileLayers, lie.body)
		r := l.keyway("image", "copy", gpu1, gpu2, image)
		if about, _, _ := strings.Cut(lie.what, " "); about == "id" && r.code == 0 {
			t.Errorf("%s\n%s: another image is taken for it", r, lie.what)
		}
		l.unchanged(before, r)
		l.says(gpu2, fileLayers, encode(honest))
		l.says(gpu1, fileLayers, lie.body)
		l.unchanged(before, l.keyway("image", "copy", gpu1, gpu2, image, "--json"))
		l.says(gpu1, fileLayers, encode(honest))
		if t.Failed() {
			t.Fatal(lie.what)
		}
	}
}

// TestEveryFieldOfAnEnvironmentLies checks that a place's report on a workspace is compared with
// the lock and shown, and that a lock made from it can be read again.
func TestEveryFieldOfAnEnvironmentLies(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	g := l.startGuest()
	l.up("train", g)
	l.write("config/keyway/templates/env.yaml", "services:\n  env:\n    image: 127.0.0.1:1/debian@sha256:"+strings.Repeat("a", 64)+"\n    environment: {A: b}\n")
	w := workspace("train", g)
	w.Template = "env"
	l.says(gpu1, fileList, listing(w))
	honest := keyway.Spec{Process: keyway.Process{Caller: true, Env: map[string]string{"A": "b"}}}.Environment()
	honest.Name, honest.Engine, honest.Arch, honest.Kernel, honest.Driver, honest.Guest = "train", "docker", "amd64", "6.1", "560.1", "devel"
	honest.Image = keyway.ImageIdentity{ID: "sha256:" + strings.Repeat("a", 64)}
	honest.Software = keyway.Software{Torch: "2.8.0", CUDA: "12.6", CuDNN: "9", NCCL: "2", Python: []string{"torch==2.8.0"}, System: []string{"libc6=2"}}
	honest.Files = []keyway.FileChange{{Path: "/usr/bin/x", Change: keyway.ChangeModified, Hash: "sha256:1"}}
	honest.GPUs = []string{"NVIDIA A100"}
	l.says(gpu1, fileTold, encode([]keyway.Environment{honest}))
	wants(t, l.keyway("pin", "env"), 0, "gpu1/train")
	wants(t, l.keyway("drift", "env", "--ignore", "tag"), 0, "nothing differs")
	lock, err := os.ReadFile(l.path("config/keyway/templates/" + pin.FileName))
	if err != nil {
		t.Fatal(err)
	}
	before := l.files()
	code := func(kind keyway.Kind) int { return keyway.ExitCode(keyway.Errorf(kind, "")) }
	all := loud(lies([]keyway.Environment{honest}, ""))
	if len(all) < 50 {
		t.Errorf("the generator has lost fields: %d lies", len(all))
	}
	for i, lie := range all {
		l.says(gpu1, fileTold, lie.body)
		l.unchanged(before, l.keyway("drift", "env", "--ignore", "tag"))
		if i%7 == 0 {
			l.keyway("pin", "env")
			if r := l.keyway("drift", "env", "--ignore", "tag"); r.code == code(keyway.BadConfig) {
				t.Errorf("%s\nwhat was pinned cannot be read", r)
			}
			l.write("config/keyway/templates/"+pin.FileName, string(lock))
		}
		if t.Failed() {
			t.Fatal(lie.what)
		}
	}
}
