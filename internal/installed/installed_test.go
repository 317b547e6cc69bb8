package installed

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"keyway/internal/keyway"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }

// pip is an image as PyTorch's own wheels make one.
var pip = fstest.MapFS{
	"usr/local/lib/python3.11/site-packages/torch-2.8.0+cu126.dist-info/METADATA":                  file(""),
	"usr/local/lib/python3.11/site-packages/torch/version.py":                                      file("__version__ = '2.8.0+cu126'\ncuda: Optional[str] = '12.6'\n"),
	"usr/local/lib/python3.11/site-packages/nvidia_cuda_runtime_cu12-12.6.77.dist-info/METADATA":   file(""),
	"usr/local/lib/python3.11/site-packages/nvidia_cudnn_cu12-9.10.2.21.dist-info/METADATA":        file(""),
	"usr/local/lib/python3.11/site-packages/nvidia_nccl_cu12-2.27.3.dist-info/METADATA":            file(""),
	"usr/local/lib/python3.11/site-packages/ruamel.yaml-0.18.6.dist-info/METADATA":                 file(""),
	"usr/local/lib/python3.11/site-packages/Jinja2-3.1.6.dist-info/METADATA":                       file(""),
	"usr/lib/python3/dist-packages/PyYAML-6.0-py3.11.egg-info":                                     file(""),
	"usr/lib/python3/dist-packages/six-1.16.0.egg-info/PKG-INFO":                                   file(""),
	"root/.local/lib/python3.11/site-packages/mine-1.dist-info/METADATA":                           file(""),
	"usr/local/lib/python3.11/site-packages/evil\x1b[2J-1.dist-info/METADATA":                      file(""),
	"usr/local/lib/python3.11/site-packages/" + strings.Repeat("x", 300) + "-1.dist-info/METADATA": file(""),
	"usr/local/lib/python3.11/site-packages/-.dist-info/METADATA":                                  file(""),
	"var/lib/dpkg/status": file("Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n" +
		"Package: zlib1g\nStatus: install ok installed\nDescription: long\n Version: 7\nVersion: 1:1.2.13\n"),
}

func TestPipImage(t *testing.T) {
	got, err := Read(pip, Where{Home: "/root"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"jinja2==3.1.6", "mine==1", "nvidia-cuda-runtime-cu12==12.6.77", "nvidia-cudnn-cu12==9.10.2.21", "nvidia-nccl-cu12==2.27.3",
		"pyyaml==6.0", "ruamel-yaml==0.18.6", "six==1.16.0", "torch==2.8.0+cu126"}
	if !slices.Equal(got.Python, want) {
		t.Errorf("Python has\n%q, want\n%q", got.Python, want)
	}
	if want := []string{"libc6=2.36-9", "zlib1g=1:1.2.13"}; !slices.Equal(got.System, want) {
		t.Errorf("the system has %q, want %q", got.System, want)
	}
	if v := [4]string{got.Torch, got.CUDA, got.CuDNN, got.NCCL}; v != [4]string{"2.8.0+cu126", "12.6.77", "9.10.2.21", "2.27.3"} {
		t.Errorf("the versions are %q", v)
	}
}

// TestCondaImage checks file systems like those of pytorch/pytorch and nvidia/cuda: conda's
// directory is on PATH only, and libraries have headers or packages.
func TestCondaImage(t *testing.T) {
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  [4]string
	}{
		"conda": {fstest.MapFS{
			"opt/conda/conda-meta/nccl-2.21.5.1-h1.json":              file("{}"),
			"opt/conda/conda-meta/cudnn-9.1.0.70-h2.json":             file("{}"),
			"opt/conda/conda-meta/cuda-cudart-12.4.127-0.json":        file("{}"),
			"opt/conda/lib/python3.11/site-packages/torch/version.py": file("cuda = \"12.4\"\n"),
		}, [4]string{"", "12.4", "9.1.0.70", "2.21.5.1"}},
		"headers": {fstest.MapFS{
			"usr/local/cuda/version.json":                    file(`{"cuda":{"name":"CUDA SDK","version":"12.6.20240"}}`),
			"usr/include/x86_64-linux-gnu/cudnn_version.h":   file("#define CUDNN_MAJOR 9\n#define CUDNN_MINOR 5\n#define CUDNN_PATCHLEVEL 1\n#define CUDNN_VERSION (x)\n"),
			"usr/include/nccl.h":                             file("#define NCCL_MAJOR 2\n#define NCCL_MINOR 23\n#define NCCL_PATCH 4\n"),
			"usr/lib/python3/dist-packages/torch/version.py": file("cuda = None\n"),
		}, [4]string{"", "12.6.20240", "9.5.1", "2.23.4"}},
		"apt": {fstest.MapFS{
			"var/lib/dpkg/status": file("Package: libcudnn9-cuda-12\nStatus: install ok installed\nVersion: 9.5.1.17-1\n\nPackage: libnccl2\nStatus: install ok installed\nVersion: 2.23.4-1+cuda12.6\n\nPackage: cuda-cudart-12-6\nStatus: install ok installed\nVersion: 12.6.77-1\n"),
		}, [4]string{"", "12.6.77-1", "9.5.1.17-1", "2.23.4-1+cuda12.6"}},
		"apk":     {fstest.MapFS{"lib/apk/db/installed": file("P:musl\nV:1.2.5-r0\n\n")}, [4]string{}},
		"nothing": {fstest.MapFS{"bin/sh": file("")}, [4]string{}},
	} {
		got, err := Read(c.files, Where{Path: "/opt/conda/bin:/usr/bin:relative/bin:/bin"})
		if err != nil {
			t.Fatal(name, err)
		}
		if v := [4]string{got.Torch, got.CUDA, got.CuDNN, got.NCCL}; v != c.want {
			t.Errorf("%s: the versions are %q, want %q", name, v, c.want)
		}
		if name == "apk" && !slices.Equal(got.System, []string{"musl=1.2.5-r0"}) {
			t.Errorf("apk: %q", got.System)
		}
	}
}

// TestNothingThatWaitsIsOpened checks a real directory in which other kinds of files replace those
// that are read.
func TestNothingThatWaitsIsOpened(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"var/lib/dpkg/status", "usr/local/cuda/version.json", "usr/include/nccl.h"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		makePipe(t, filepath.Join(root, name))
	}
	if _, err := Read(os.DirFS(root), Where{}); err != nil {
		t.Error(err)
	}
	if _, err := Read(os.DirFS(filepath.Join(root, "absent")), Where{}); err == nil {
		t.Error("a root that is not there is empty")
	}
}

func TestBounds(t *testing.T) {
	var many strings.Builder
	for i := range keyway.MaxPackages + 100 {
		fmt.Fprintf(&many, "Package: p%d\nStatus: install ok installed\nVersion: 1\n\n", i)
	}
	got, err := Read(fstest.MapFS{"var/lib/dpkg/status": file(many.String())}, Where{})
	if err != nil || len(got.System) != keyway.MaxPackages {
		t.Errorf("%d packages, %v", len(got.System), err)
	}
	if _, err := ReadFile(fstest.MapFS{"x": file("12345")}, "x", 4); err == nil {
		t.Error("a file that is too large was read")
	}
}

// FuzzRead checks arbitrary contents of the files that are read.
func FuzzRead(f *testing.F) {
	f.Add([]byte("Package: a\nStatus: install ok installed\nVersion: 1\n\n"), "torch-1.dist-info", "/usr/bin")
	f.Add([]byte(`{"cuda":{"version":"12"}}`), "x-1-py3.egg-info", "/opt/conda/bin::bin")
	f.Add([]byte("#define NCCL_MAJOR 1\n#define NCCL_MINOR 2\n#define NCCL_PATCH 3"), "a-1-b.json", "")
	f.Fuzz(func(t *testing.T, data []byte, name, path string) {
		files := fstest.MapFS{}
		for _, p := range []string{"var/lib/dpkg/status", "lib/apk/db/installed", "usr/local/cuda/version.json", "usr/include/nccl.h", "usr/lib/python3/dist-packages/torch/version.py"} {
			files[p] = &fstest.MapFile{Data: data}
		}
		for _, dir := range []string{"usr/lib/python3/dist-packages/", "usr/conda-meta/", "opt/conda/lib/python3.9/site-packages/"} {
			if fs.ValidPath(dir + name) {
				files[dir+name] = &fstest.MapFile{Data: data}
			}
		}
		got, err := Read(files, Where{Path: path, PythonPath: path, Home: path})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range append(append(got.Python, got.System...), got.Torch, got.CUDA, got.CuDNN, got.NCCL) {
			if len(text) > keyway.MaxPackageText || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Errorf("%q is told", text)
			}
		}
	})
}
