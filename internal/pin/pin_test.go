package pin

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

func digest(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

// pinned returns an environment as a place reports it.
func pinned() keyway.Environment {
	return keyway.Environment{
		Name: "train", Engine: "docker", Arch: "amd64",
		Image:     keyway.ImageIdentity{Reference: "pytorch/pytorch:2.8.0", Digests: []string{digest("a"), digest("b")}, ID: digest("c")},
		Software:  keyway.Software{Torch: "2.8.0+cu126", CUDA: "12.6.77", CuDNN: "9.10.2", NCCL: "2.27.3", Python: []string{"numpy==2.1.0", "torch==2.8.0+cu126"}, System: []string{"libc6=2.36-9"}},
		Variables: keyway.Spec{Process: keyway.Process{Env: map[string]string{"HF_HOME": "/cache"}}}.Environment().Variables,
		Mounts:    []string{"bind /data at /mnt/data (read only)"}, Shm: 1 << 30, User: keyway.UserCaller,
		Options: map[string]string{},
		Kernel:  "6.1.0-28-amd64", Driver: "560.35.03", GPUs: []string{"NVIDIA A100", "NVIDIA A100"}, Guest: "v1",
	}
}

// TestEachChangeIsNamed makes one change at a time, and checks that its field alone is reported.
func TestEachChangeIsNamed(t *testing.T) {
	p := FromWorkspace("train", "pytorch/pytorch:2.8.0", pinned())
	if got := p.Compare("gpu1/train", pinned()); len(got) != 0 {
		t.Fatalf("an environment differs from its own pin: %+v", got)
	}
	for name, c := range map[string]struct {
		plant       func(*keyway.Environment)
		field, says string
	}{
		"another image under the tag": {func(e *keyway.Environment) { e.Image = keyway.ImageIdentity{Reference: "x", ID: digest("d")} }, "image", "sha256:dddddddddddd"},
		"pip":                         {func(e *keyway.Environment) { e.Python[0] = "numpy==2.2.0" }, "pip", "numpy 2.1.0 2.2.0"},
		"pip, one more":               {func(e *keyway.Environment) { e.Python = append(e.Python, "wandb==1") }, "pip", "wandb  1"},
		"pip, one less":               {func(e *keyway.Environment) { e.Python = e.Python[1:] }, "pip", "numpy 2.1.0"},
		"apt":                         {func(e *keyway.Environment) { e.System[0] = "libc6=2.36-10" }, "packages", "libc6"},
		"a file": {func(e *keyway.Environment) {
			e.Files = []keyway.FileChange{{Path: "/usr/bin/python3", Change: keyway.ChangeModified, Hash: digest("e")}}
		}, "file", "/usr/bin/python3"},
		"environment": {func(e *keyway.Environment) {
			e.Variables = keyway.Spec{Process: keyway.Process{Env: map[string]string{"HF_HOME": "/other"}}}.Environment().Variables
		}, "env", "HF_HOME"},
		"mount":        {func(e *keyway.Environment) { e.Mounts = []string{} }, "mount", "/mnt/data"},
		"driver":       {func(e *keyway.Environment) { e.Driver = "570.1" }, "driver", "560.35.03 570.1"},
		"kernel":       {func(e *keyway.Environment) { e.Kernel = "6.8" }, "kernel", "6.8"},
		"GPU":          {func(e *keyway.Environment) { e.GPUs[1] = "NVIDIA H100" }, "gpu", "1 × NVIDIA H100"},
		"fewer GPUs":   {func(e *keyway.Environment) { e.GPUs = e.GPUs[:1] }, "gpu", "1 × NVIDIA A100"},
		"shm":          {func(e *keyway.Environment) { e.Shm = 64 << 20 }, "shm", "67108864"},
		"network":      {func(e *keyway.Environment) { e.Options = map[string]string{"network": "host"} }, "network", "host"},
		"IPC":          {func(e *keyway.Environment) { e.Options = map[string]string{"ipc": "host"} }, "ipc", "host"},
		"uid":          {func(e *keyway.Environment) { e.User = "1000:1000" }, "user", "1000:1000"},
		"guest":        {func(e *keyway.Environment) { e.Guest = "v2" }, "guest", "v2"},
		"torch":        {func(e *keyway.Environment) { e.Torch = "2.9.0" }, "torch", "2.9.0"},
		"CUDA":         {func(e *keyway.Environment) { e.CUDA = "13.0" }, "cuda", "13.0"},
		"cuDNN":        {func(e *keyway.Environment) { e.CuDNN = "" }, "cudnn", "9.10.2"},
		"NCCL":         {func(e *keyway.Environment) { e.NCCL = "2.28" }, "nccl", "2.28"},
		"architecture": {func(e *keyway.Environment) { e.Arch, e.Python, e.Image = "arm64", nil, keyway.ImageIdentity{} }, "arch", "amd64 arm64"},
	} {
		found := pinned()
		c.plant(&found)
		got := p.Compare("gpu1/train", found)
		if len(got) != 1 || got[0].Field != c.field || got[0].Where != "gpu1/train" || !slices.Contains(Fields, c.field) {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		if text := got[0].Name + " " + got[0].Want + " " + got[0].Found; !strings.Contains(text, c.says) {
			t.Errorf("%s: %q does not say %q", name, text, c.says)
		}
	}
}

// TestNoValueIsInTheLock checks that the lock has no value of a variable, which may be secret.
func TestNoValueIsInTheLock(t *testing.T) {
	p := FromWorkspace("train", "x", keyway.Spec{Process: keyway.Process{Env: map[string]string{"TOKEN": "hf_secret"}}}.Environment())
	text, err := json.Marshal(Lock{}.With(p))
	if err != nil || strings.Contains(string(text), "hf_secret") || !strings.Contains(string(text), "TOKEN") {
		t.Errorf("%s, %v", text, err)
	}
}

// TestTheSameImageByAnotherName checks that one common name suffices: registries identify an image
// by digests, and engines by the hash of its configuration.
func TestTheSameImageByAnotherName(t *testing.T) {
	p := FromWorkspace("train", "x", pinned())
	for _, id := range []keyway.ImageIdentity{{ID: digest("c")}, {Digests: []string{digest("b")}, ID: digest("d")}} {
		found := pinned()
		found.Image = id
		if got := p.Compare("w", found); len(got) != 0 {
			t.Errorf("%+v: %+v", id, got)
		}
	}
}

// TestPinOfAnImageAlone checks a pin that was made from a registry's answer only: it decides the
// image and the template's settings, and the driver must run the image.
func TestPinOfAnImageAlone(t *testing.T) {
	s := keyway.Spec{Image: "pytorch/pytorch:2.8.0", Process: keyway.Process{Caller: true, Env: map[string]string{"HF_HOME": "/cache"}},
		Files: keyway.Files{Mounts: []keyway.Mount{{Source: "/data", Target: "/mnt/data", ReadOnly: true}}}, Resources: keyway.Resources{ShmSize: 1 << 30}}
	p := FromImage("train", "amd64", s, keyway.ImageFacts{Digest: digest("a"), ID: digest("c"), Env: []string{"PYTORCH_VERSION=2.8.0", "CUDA_VERSION=12.6.3", "NV_CUDNN_VERSION=9.5.1.17-1", "NCCL_VERSION=\x1b[2J"}})
	if p.Torch != "2.8.0" || p.CUDA != "12.6.3" || p.CuDNN != "9.5.1.17-1" || p.NCCL != "" || p.DriverFloor != "525" {
		t.Errorf("%+v", p)
	}
	if got := p.Compare("w", pinned()); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	old := pinned()
	old.Driver = "470.1"
	if got := p.Compare("w", old); len(got) != 1 || got[0].Field != "driver" || got[0].Want != "525 or newer" {
		t.Errorf("%+v", got)
	}
	if got := p.CompareSpec("keyway.yaml", s); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	s.Image = "pytorch/pytorch:2.9.0"
	if got := p.CompareSpec("keyway.yaml", s); len(got) != 1 || got[0].Field != "template" {
		t.Errorf("%+v", got)
	}
}

func TestLockFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	arm := pinned()
	arm.Arch = "arm64"
	lock := Lock{}.With(FromWorkspace("train", "x", pinned())).With(FromWorkspace("train", "x", arm)).With(FromWorkspace("train", "x", arm))
	if err := lock.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil || got.Meddled() || len(got.Pins) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if p, _, ok := got.Find("train", "arm64"); !ok || p.Arch != "arm64" || p.Name != "" {
		t.Errorf("%+v", p)
	}
	if _, others, ok := got.Find("train", "riscv64"); ok || !slices.Equal(others, []string{"amd64", "arm64"}) {
		t.Errorf("of another architecture: %q", others)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := Parse([]byte(strings.Replace(string(text), "numpy==2.1.0", "numpy==2.1.1", 1)))
	if err != nil || !changed.Meddled() {
		t.Errorf("a change of the file is not seen: %v", err)
	}
}

// TestLocksThatAreRefused checks that a text of the file becomes a word of a command, or reaches a
// terminal, only if it has the required form.
func TestLocksThatAreRefused(t *testing.T) {
	text, err := json.Marshal(Lock{}.With(FromWorkspace("train", "x", pinned())))
	if err != nil {
		t.Fatal(err)
	}
	for old, changed := range map[string]string{
		`"version":1`:        `"version":2`,
		`"template":"train"`: `"template":""`,
		`"pins":`:            `"pns":`,
		digest("a"):          "sha256:aa --privileged",
		`"kernel":"6.1.0`:    `"kernel":"\u001b[2J6.1.0`,
		`"numpy==2.1.0"`:     `"` + strings.Repeat("x", maxText+1) + `"`,
		`"arch":"amd64"`:     `"arch":"amd64","error":{"kind":"other","message":"x"}`,
		`"options":{}`:       `"options":{"--privileged":"yes"}`,
		`"options":{},`:      `"options":{"ipc":"\u001b[2J"},`,
		`"sum":`:             `"more":1,"sum":`,
	} {
		if !strings.Contains(string(text), old) {
			t.Fatalf("there is no %s in %s", old, text)
		}
		if _, err := Parse([]byte(strings.Replace(string(text), old, changed, 1))); err == nil {
			t.Errorf("with %.80s it is read", changed)
		}
	}
	for _, text := range []string{"", "{", "[]", "null", `{"version":1,"pins":[{}],"sum":""}`} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
	dir := filepath.Join(t.TempDir(), FileName)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); !keyway.Is(err, keyway.BadConfig) {
		t.Errorf("a directory: %v", err)
	}
}

func TestByDigest(t *testing.T) {
	for image, want := range map[string]string{
		"pytorch/pytorch:2.8.0": "pytorch/pytorch@d", "busybox": "busybox@d", "localhost:5000/x": "localhost:5000/x@d",
		"localhost:5000/x:1": "localhost:5000/x@d", "x:1@sha256:old": "x@d",
	} {
		if got := ByDigest(image, "d"); got != want {
			t.Errorf("%s becomes %s", image, got)
		}
	}
}

// TestWhatAPlaceTellsIsCleaned checks that a lock that was written can be read again.
func TestWhatAPlaceTellsIsCleaned(t *testing.T) {
	evil := pinned()
	evil.Kernel, evil.Python, evil.Mounts = "\x1b[2J", []string{"a\nb==1"}, []string{strings.Repeat("x", maxText*2)}
	evil.Files = []keyway.FileChange{{Path: "/a\u202eb", Change: "\x00", Hash: "x"}}
	evil.Image.Digests, evil.Image.ID = []string{"sha256:x --rm"}, "../x"
	evil.GPUs = slices.Repeat([]string{"x"}, 5000)
	evil.Options = map[string]string{"ipc": "\x1b[2J" + strings.Repeat("x", maxText*2), "evil": "x"}
	p := FromWorkspace("train", "x", evil)
	if err := p.check(); err != nil {
		t.Error(err)
	}
	if got := p.Compare("w", evil); len(got) != 0 {
		t.Errorf("it differs from itself: %+v", got)
	}
}

// TestManyDifferencesAreCounted checks that the differences beyond a readable number are counted.
func TestManyDifferencesAreCounted(t *testing.T) {
	found := pinned()
	for i := range 1000 {
		found.Python = append(found.Python, "p"+string(rune('a'+i%26))+strings.Repeat("x", i/26)+"==1")
	}
	got := FromWorkspace("train", "x", pinned()).Compare("w", found)
	if len(got) != MaxShown+1 || !strings.HasPrefix(got[MaxShown].Name, "and ") {
		t.Errorf("%d differences", len(got))
	}
}

// FuzzParse checks that each lock that can be parsed can be written and parsed again without
// change.
func FuzzParse(f *testing.F) {
	text, err := json.Marshal(Lock{}.With(FromWorkspace("train", "x", pinned())))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version":1,"pins":[],"sum":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse(data)
		if err != nil {
			return
		}
		for _, p := range l.Pins {
			p.Compare("w", pinned())
			for _, d := range p.Image.Digests {
				if d != "" && !sha.MatchString(d) {
					t.Errorf("%q is a digest", d)
				}
			}
		}
		again, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := Parse(again); err != nil || other.Meddled() != l.Meddled() {
			t.Errorf("it is not read again: %v", err)
		}
	})
}
