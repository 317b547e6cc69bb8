//go:build unix

package gpu

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// planted writes a machine's files, by their paths.
func planted(t *testing.T, files map[string]string) driver {
	t.Helper()
	d := driver{root: t.TempDir()}
	for path, text := range files {
		path = filepath.Join(d.root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d.smi = smi{program: filepath.Join(d.root, "nvidia-smi"), timeout: time.Minute}
	return d
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
		"a process with a name of XML": {
			map[string]string{"nvidia-smi": "#!/bin/sh\n[ $1 = -q ] || exit 1\ncat <<'E'\n<nvidia_smi_log><driver_version>1.2</driver_version><gpu><product_name>A</product_name><processes><process_info>\n<process_name></gpu></process_name>\n</process_info></processes></gpu></nvidia_smi_log>\nE\n"}, "",
			keyway.DriverFacts{Module: "1.2", GPUs: []keyway.GPUFacts{{Model: "A"}}},
		},
		"none":          {nil, "", keyway.DriverFacts{}},
		"smi says junk": {map[string]string{"nvidia-smi": "#!/bin/sh\necho '<'"}, "", keyway.DriverFacts{}},
	} {
		d := planted(t, c.files)
		if c.link != "" {
			if err := os.Symlink(c.link, filepath.Join(d.root, "usr/lib64/libcuda.so.1")); err != nil {
				t.Fatal(err)
			}
		}
		if got := d.facts(t.Context()); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
