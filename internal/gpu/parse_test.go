package gpu

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// read returns a file of testdata.
func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// line returns a device as the tests below write it.
func (d Device) line() string {
	var procs []string
	for _, p := range d.Processes {
		procs = append(procs, fmt.Sprintf("%d:%d:%v", p.PID, p.Memory>>20, p.Compute))
	}
	return fmt.Sprintf("%s %s %d %s %d/%d MiB %d%% unseen=%v %s",
		d.Index, d.UUID, d.Minor, d.Model, d.Used>>20, d.Memory>>20, d.Load, d.Unseen, strings.Join(procs, ","))
}

func TestParse(t *testing.T) {
	gpu := func(n int) string { return fmt.Sprintf("GPU-%08x-1111-2222-3333-%012x", n, n) }
	mig := func(n int) string { return fmt.Sprintf("MIG-%08x-4444-5555-6666-%012x", n, n) }
	for name, want := range map[string][]string{
		"v4-k80-390": {"390.157 ",
			"0 " + gpu(0x80a) + " 0 Tesla K80 9800/11441 MiB 97% unseen=true ",
			"1 " + gpu(0x80b) + " 1 Tesla K80 0/11441 MiB 0% unseen=true "},
		"v10-gtx1080ti-440": {"440.118.02 10.2",
			"0 " + gpu(0x1080) + " 0 GeForce GTX 1080 Ti 734/11178 MiB -1% unseen=false 1423:410:false,2288:-1:false"},
		"v11-t4-515": {"515.105.01 11.7",
			"0 " + gpu(0x14) + " 0 Tesla T4 1032/15360 MiB 41% unseen=false 4711:1028:true"},
		"v12-a100-mig-535": {"535.54.03 12.2",
			"0:0 " + mig(1) + " 1 NVIDIA A100-SXM4-80GB 12/19968 MiB -1% unseen=false ",
			"0:1 " + mig(2) + " 1 NVIDIA A100-SXM4-80GB 9044/19968 MiB -1% unseen=false 7001:9020:true",
			"0:2 " + mig(3) + " 1 NVIDIA A100-SXM4-80GB 25/39936 MiB -1% unseen=false ",
			"1 " + gpu(0xa1) + " 0 NVIDIA A100-SXM4-80GB 869/81920 MiB 0% unseen=false "},
		"v13-rtxpro6000-595": {"595.45.04 13.2",
			"0:0 " + mig(0x61) + " 0 NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition 100/24448 MiB -1% unseen=false ",
			"0:1 " + mig(0x62) + " 0 NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition 1024/24448 MiB -1% unseen=false ",
			"1 " + gpu(0x601) + " 1 NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition 4/97887 MiB 3% unseen=false "},
		"wsl-552": {"552.22 12.4",
			"0 " + gpu(0x4070) + " -1 NVIDIA GeForce RTX 4070 Laptop GPU 2511/8188 MiB 7% unseen=true "},
		"lost-535": {"535.161.08 12.2",
			"0  -1 Unknown Error -1/-1 MiB -1% unseen=true ",
			"1 " + gpu(0x40) + " 1 NVIDIA L40S 1/46068 MiB 0% unseen=false "},
		"none-550": {"550.54.14 12.4"},
	} {
		t.Run(name, func(t *testing.T) {
			inv, err := Parse(read(t, name+".xml"))
			if err == nil && inv.lacksUUIDs() {
				inv, err = inv.List(read(t, name+"-list.txt"))
			}
			if err != nil {
				t.Fatal(err)
			}
			got := []string{inv.Driver + " " + inv.CUDA}
			for _, d := range inv.Devices {
				got = append(got, d.line())
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("it tells of\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func TestParseEightGPUs(t *testing.T) {
	inv, err := Parse(read(t, "v12-h100-550.xml"))
	if err != nil || len(inv.Devices) != 8 {
		t.Fatalf("%d GPUs, %v", len(inv.Devices), err)
	}
	for i, d := range inv.Devices {
		if busy := d.busy() != nil; busy != (i == 2 || i == 5) {
			t.Errorf("GPU %d computes: %v, %+v", i, busy, d.Processes)
		}
	}
}

// TestParseRefuses checks texts that must not count as a list of GPUs.
func TestParseRefuses(t *testing.T) {
	one := string(read(t, "v11-t4-515.xml"))
	begin, end := strings.Index(one, "\t<gpu "), strings.Index(one, "</nvidia_smi_log>")
	gpu := one[begin:end]
	numbered := func(n int) string {
		var all strings.Builder
		for i := range n {
			all.WriteString(strings.Replace(gpu, "GPU-00000014", fmt.Sprintf("GPU-%08x", i), 1))
		}
		return one[:begin] + all.String() + one[end:]
	}
	process := gpu[strings.Index(gpu, "\t\t\t<process_info>"):strings.Index(gpu, "\t\t</processes>")]
	for name, text := range map[string]string{
		"nothing": "", "text": "No devices were found\n", "another document": "<html></html>", "cut": one[:len(one)/2],
		"the same GPU twice": one[:end] + gpu + one[end:], "too many GPUs": numbered(maxGPUs + 1),
		"too many processes": strings.Replace(one, process, strings.Repeat(process, maxProcesses+1), 1),
		"entities":           `<!DOCTYPE nvidia_smi_log [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><nvidia_smi_log><driver_version>&b;</driver_version></nvidia_smi_log>`,
		"too much":           strings.Repeat(" ", maxOutput) + one,
	} {
		if inv, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s: it tells of %d GPUs", name, len(inv.Devices))
		}
	}
	if inv, err := Parse([]byte(numbered(maxGPUs))); err != nil || len(inv.Devices) != maxGPUs {
		t.Errorf("as many as there may be: %d, %v", len(inv.Devices), err)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		f.Add(read(f, filepath.Base(name)), read(f, "v12-a100-mig-535-list.txt"))
	}
	f.Fuzz(func(t *testing.T, log, list []byte) {
		inv, err := Parse(log)
		if err != nil {
			return
		}
		inv, err = inv.List(list)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, d := range inv.Devices {
			if d.UUID != "" && (seen[d.UUID] || !goodUUID.MatchString(d.UUID) || strings.ContainsRune(leaseFile(d.UUID), '/')) {
				t.Errorf("the UUID %q", d.UUID)
			}
			seen[d.UUID] = true
			if len(d.Model) > maxText || bytes.ContainsAny([]byte(d.Model), "\n\x1b") || d.Memory < -1 || d.Used < -1 || d.Load > 100 || d.Load < -1 {
				t.Errorf("%+v", d)
			}
			for _, p := range d.Processes {
				if p.PID <= 0 || p.Memory < -1 {
					t.Errorf("%+v", p)
				}
			}
		}
	})
}
