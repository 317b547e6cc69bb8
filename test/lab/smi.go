package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// FakeSMI stands in for nvidia-smi, for GPUs with the UUIDs of StartGPUDocker.
type FakeSMI struct {
	Program string
	// Driver is the reported version of the driver, and Model the reported name of the GPUs, beside
	// their numbers. Compute makes a change of them known.
	Driver, Model string

	gpus   int
	dir    string
	minors map[int]int // numbers of device files that are not those of the GPUs
}

// smiScript prints its prepared answer.
const smiScript = `#!/bin/sh
case "$*" in
"-q -x") exec cat "${0%/*}/log.xml" ;;
-L) exec cat "${0%/*}/list" ;;
esac
echo "nvidia-smi: $*?" >&2
exit 2
`

// NewFakeSMI puts a stand-in for nvidia-smi into dir. It reports the given number of GPUs, on which
// no process runs.
func NewFakeSMI(dir string, gpus int) (*FakeSMI, error) {
	s := &FakeSMI{Program: filepath.Join(dir, "nvidia-smi"), Driver: "550.54.14", Model: "NVIDIA Lab", gpus: gpus, dir: dir}
	if err := os.WriteFile(s.Program, []byte(smiScript), 0o755); err != nil {
		return nil, err
	}
	return s, s.Compute(nil)
}

// Compute makes the GPUs with those numbers report those processes.
func (s *FakeSMI) Compute(pids map[int]int) error {
	all := map[int][]int{}
	for gpu, pid := range pids {
		if pid != 0 {
			all[gpu] = []int{pid}
		}
	}
	return s.ComputeMany(all)
}

// ComputeMany is Compute with any number of processes on each GPU.
func (s *FakeSMI) ComputeMany(pids map[int][]int) error {
	var log strings.Builder
	fmt.Fprintf(&log, "<?xml version=\"1.0\" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM \"nvsmi_device_v12.dtd\">\n<nvidia_smi_log>\n"+
		"\t<driver_version>%s</driver_version>\n\t<cuda_version>12.4</cuda_version>\n\t<attached_gpus>%d</attached_gpus>\n", s.Driver, s.gpus)
	for i := range s.gpus {
		minor, other := s.minors[i]
		if !other {
			minor = i
		}
		fmt.Fprintf(&log, "\t<gpu id=\"00000000:%02X:00.0\">\n\t\t<product_name>%s %d</product_name>\n\t\t<uuid>%s</uuid>\n\t\t<minor_number>%d</minor_number>\n"+
			"\t\t<mig_mode>\n\t\t\t<current_mig>N/A</current_mig>\n\t\t</mig_mode>\n\t\t<fb_memory_usage>\n\t\t\t<total>16384 MiB</total>\n\t\t\t<used>4 MiB</used>\n\t\t</fb_memory_usage>\n"+
			"\t\t<utilization>\n\t\t\t<gpu_util>0 %%</gpu_util>\n\t\t</utilization>\n\t\t<processes>\n", i+1, s.Model, i, LabGPU(i), minor)
		for _, pid := range pids[i] {
			fmt.Fprintf(&log, "\t\t\t<process_info>\n\t\t\t\t<pid>%d</pid>\n\t\t\t\t<type>C</type>\n\t\t\t\t<process_name>python3</process_name>\n\t\t\t\t<used_memory>512 MiB</used_memory>\n\t\t\t</process_info>\n", pid)
		}
		log.WriteString("\t\t</processes>\n\t</gpu>\n")
	}
	log.WriteString("</nvidia_smi_log>\n")
	// A query meanwhile gets the old text or the new.
	fresh := filepath.Join(s.dir, "log.new")
	if err := os.WriteFile(fresh, []byte(log.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, filepath.Join(s.dir, "log.xml"))
}

// Renumber has GPUs of these numbers name other device files than their own.
func (s *FakeSMI) Renumber(minors map[int]int) error {
	s.minors = minors
	return s.Compute(nil)
}

// LabGPU returns the UUID of the stand-in GPU of that number.
func LabGPU(number int) string { return fmt.Sprintf("GPU-fake-%d", number) }
