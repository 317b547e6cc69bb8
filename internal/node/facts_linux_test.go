package node

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"keyway/internal/keyway"
)

// plant writes a machine's files, by their paths.
func plant(t *testing.T, files map[string]string) machine {
	t.Helper()
	m := machine{root: t.TempDir()}
	for path, text := range files {
		path = filepath.Join(m.root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.smi = filepath.Join(m.root, "nvidia-smi")
	return m
}

const saysAll = `#!/bin/sh
case $1 in
-q) echo '<?xml version="1.0"?><nvidia_smi_log><driver_version>560.35.05</driver_version><cuda_version>12.6</cuda_version><gpu><product_name>NVIDIA A100</product_name><product_brand>NVIDIA</product_brand></gpu><gpu><product_name>Tesla T4</product_name><product_brand>Tesla</product_brand></gpu></nvidia_smi_log>' ;;
*) echo 8.0; echo '[N/A]' ;;
esac
`

func TestDriverFacts(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		link  string // of libcuda.so.1
		want  keyway.DriverFacts
	}{
		"all": {
			map[string]string{"sys/module/nvidia/version": "560.35.05\n", "nvidia-smi": saysAll, "usr/lib64/libcuda.so.560.35.05": ""}, "libcuda.so.560.35.05",
			keyway.DriverFacts{Module: "560.35.05", Library: "560.35.05", CUDA: "12.6", GPUs: []keyway.GPUFacts{
				{Model: "NVIDIA A100", Brand: "NVIDIA", Compute: "8.0"}, {Model: "Tesla T4", Brand: "Tesla"}}},
		},
		"reboot pending": {
			map[string]string{"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n",
				"nvidia-smi": "#!/bin/sh\necho Failed to initialize NVML: Driver/library version mismatch; exit 18", "usr/lib64/libcuda.so.560.35.05": ""}, "libcuda.so.560.35.05",
			keyway.DriverFacts{Module: "535.104.05", Library: "560.35.05"},
		},
		"none":          {nil, "", keyway.DriverFacts{}},
		"smi says junk": {map[string]string{"nvidia-smi": "#!/bin/sh\necho '<'"}, "", keyway.DriverFacts{}},
	} {
		m := plant(t, c.files)
		if c.link != "" {
			if err := os.Symlink(c.link, filepath.Join(m.root, "usr/lib64/libcuda.so.1")); err != nil {
				t.Fatal(err)
			}
		}
		if got := m.driver(context.Background()); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestMachineFacts(t *testing.T) {
	m := plant(t, map[string]string{"proc/meminfo": "MemTotal:       65536000 kB\nMemFree: 1 kB\n"})
	if got := m.memory(); got != 65536000<<10 {
		t.Errorf("memory %d", got)
	}
	dir := t.TempDir()
	got := mountFacts([]keyway.Mount{{Source: dir, Target: "/a"}, {Source: dir, Target: "/b"}, {Source: dir + "/none", Target: "/c"}, {Kind: keyway.MountTmpfs, Target: "/d"}})
	if want := []keyway.MountFacts{{Source: dir, Exists: true, Readable: true, Writable: true}, {Source: dir + "/none"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if _, ok := hardLimits()["nofile"]; !ok {
		t.Error("the limit of files is not told")
	}
}
