package gpu

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
)

// Inventory is the driver's list of the GPUs of this machine.
type Inventory struct {
	Driver  string // its version
	CUDA    string // the newest CUDA that it runs
	Devices []Device
}

// Device is a GPU that can be lent: a whole one, or a part of one that is divided
// (MIG).
type Device struct {
	Index  string // as keyway.GPU has it, and CDI
	UUID   string // empty: the driver cannot reach it
	Minor  int    // N of /dev/nvidiaN; -1: not told
	Model  string
	Memory int64 // in bytes; -1: not told
	Used   int64 // in bytes; -1: not told
	Load   int   // in percent; -1: not told
	// Unseen means that the driver does not report the processes that use it.
	Unseen    bool
	Processes []Process

	part [2]int // GPU instance and compute instance of a part
}

// Process is a process on a GPU.
type Process struct {
	PID     int
	Memory  int64 // in bytes; -1: not told
	Compute bool  // else it only draws
}

// Bounds on what nvidia-smi says. 8 GPUs take half a megabyte.
const (
	maxOutput    = 32 << 20 // bytes
	maxGPUs      = 256
	maxParts     = 64 // of one GPU; the driver's own bound is 7
	maxProcesses = 4096
	maxText      = 128 // bytes of a name or version
)

// log is the part of the output of nvidia-smi -q -x that is read here. Its elements are those of
// nvsmi_device_v4.dtd to v13; an element that a generation lacks stays empty.
type log struct {
	XMLName xml.Name `xml:"nvidia_smi_log"`
	Driver  string   `xml:"driver_version"`
	CUDA    string   `xml:"cuda_version"`
	GPUs    []logGPU `xml:"gpu"`
}

type logGPU struct {
	Model     string       `xml:"product_name"`
	Brand     string       `xml:"product_brand"`
	UUID      string       `xml:"uuid"`
	Minor     string       `xml:"minor_number"`
	MIG       string       `xml:"mig_mode>current_mig"`
	Parts     []logPart    `xml:"mig_devices>mig_device"`
	Total     string       `xml:"fb_memory_usage>total"`
	Used      string       `xml:"fb_memory_usage>used"`
	Load      string       `xml:"utilization>gpu_util"`
	Processes logProcesses `xml:"processes"`
}

type logPart struct {
	Index    string `xml:"index"`
	Instance string `xml:"gpu_instance_id"`
	Compute  string `xml:"compute_instance_id"`
	UUID     string `xml:"uuid"` // newer drivers only
	Total    string `xml:"fb_memory_usage>total"`
	Used     string `xml:"fb_memory_usage>used"`
}

type logProcesses struct {
	Text string       `xml:",chardata"` // N/A where the driver does not tell
	Info []logProcess `xml:"process_info"`
}

type logProcess struct {
	Instance string `xml:"gpu_instance_id"`
	Compute  string `xml:"compute_instance_id"`
	PID      string `xml:"pid"`
	Type     string `xml:"type"` // C, G, C+G, and M or others for MPS
	Used     string `xml:"used_memory"`
}

// Parse reads what nvidia-smi -q -x prints. The parts of a divided GPU may lack
// their UUIDs; see List.
func Parse(output []byte) (Inventory, error) {
	if len(output) > maxOutput {
		return Inventory{}, fmt.Errorf("the output of nvidia-smi is over %d bytes", maxOutput)
	}
	var l log
	if err := xml.Unmarshal(withoutNames(output), &l); err != nil {
		return Inventory{}, fmt.Errorf("the output of nvidia-smi cannot be read: %w", err)
	}
	if len(l.GPUs) > maxGPUs {
		return Inventory{}, fmt.Errorf("nvidia-smi lists over %d GPUs", maxGPUs)
	}
	inv := Inventory{Driver: text(l.Driver), CUDA: text(l.CUDA)}
	for i, g := range l.GPUs {
		if len(g.Parts) > maxParts || len(g.Processes.Info) > maxProcesses {
			return Inventory{}, fmt.Errorf("nvidia-smi lists over %d parts or %d processes of one GPU", maxParts, maxProcesses)
		}
		inv.Devices = append(inv.Devices, g.devices(i)...)
	}
	return inv, inv.check()
}

// check refuses what would have one GPU lent twice.
func (inv Inventory) check() error {
	seen := map[string]bool{}
	for _, d := range inv.Devices {
		if d.UUID != "" && seen[d.UUID] {
			return fmt.Errorf("nvidia-smi lists two GPUs %s", d.UUID)
		}
		seen[d.UUID] = true
	}
	return nil
}

// A process on a GPU chooses its own name, and nvidia-smi writes it unchanged: it may be invalid
// UTF-8, and may close its element.
var processName = lazyregexp.New(`(?s)<process_name>.*?</process_name>[ \t]*\r?\n`)

func withoutNames(output []byte) []byte {
	return bytes.ToValidUTF8(processName.ReplaceAll(output, nil), []byte("?"))
}

// devices returns the devices of the GPU with that number that can be lent: the GPU, or its
// parts.
func (g logGPU) devices(number int) []Device {
	whole := Device{
		Index: strconv.Itoa(number), UUID: uuid(g.UUID), Minor: number64(g.Minor), Model: text(g.Model),
		Memory: size(g.Total), Used: size(g.Used), Load: percent(g.Load),
		Unseen: len(g.Processes.Info) == 0 && unknown(g.Processes.Text), part: [2]int{-1, -1},
	}
	if g.MIG != "Enabled" {
		for _, p := range g.Processes.Info {
			whole.Processes = append(whole.Processes, p.process()...)
		}
		return []Device{whole}
	}
	var parts []Device
	for _, p := range g.Parts {
		part := whole
		part.Index, part.UUID = whole.Index+":"+strconv.Itoa(number64(p.Index)), uuid(p.UUID)
		part.Memory, part.Used, part.Load = size(p.Total), size(p.Used), keyway.UnknownNumber
		part.part = [2]int{number64(p.Instance), number64(p.Compute)}
		for _, info := range g.Processes.Info {
			if at := number64(info.Instance); at == -1 || at == part.part[0] && number64(info.Compute) == part.part[1] {
				part.Processes = append(part.Processes, info.process()...)
			}
		}
		parts = append(parts, part)
	}
	return parts
}

func (p logProcess) process() []Process {
	pid := number64(p.PID)
	if pid <= 0 {
		return nil
	}
	return []Process{{PID: pid, Memory: size(p.Used), Compute: strings.TrimSpace(p.Type) != "G"}}
}

// unknown reports whether a value is one of the driver's words for having none.
func unknown(value string) bool {
	value = strings.Trim(strings.TrimSpace(value), "[]")
	return value == "N/A" || value == "Not Supported" || value == "Not Available"
}

// text returns a value as a short line.
func text(value string) string {
	value = strings.TrimSpace(value)
	if len(value) > maxText {
		value = value[:maxText]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(value, "?"))
}

// goodUUID is also safe as a part of a file's name, except for the slashes in the old form of
// parts.
var goodUUID = lazyregexp.New(`^(GPU|MIG)-[0-9A-Za-z-]{1,100}(/[0-9]{1,4}/[0-9]{1,4})?$`)

// uuid returns value if it is a UUID. For a GPU that was lost, the driver reports other text.
func uuid(value string) string {
	value = strings.TrimSpace(value)
	if !goodUUID.MatchString(value) {
		return ""
	}
	return value
}

func number64(value string) int {
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 31)
	if err != nil || n < 0 {
		return -1
	}
	return int(n)
}

// size returns a value such as 81920 MiB, in bytes.
func size(value string) int64 {
	amount, unit, _ := strings.Cut(strings.TrimSpace(value), " ")
	n, err := strconv.ParseInt(amount, 10, 40)
	shift, known := map[string]int{"B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "KB": 10, "MB": 20}[unit]
	if err != nil || n < 0 || !known || n > 1<<62>>shift {
		return keyway.UnknownNumber
	}
	return n << shift
}

func percent(value string) int {
	n := number64(strings.TrimSuffix(strings.TrimSpace(value), "%"))
	if n > 100 {
		return keyway.UnknownNumber
	}
	return n
}

// A line of nvidia-smi -L: a GPU, or below it one of its parts.
var (
	listGPU  = lazyregexp.New(`^GPU (\d{1,4}): .*\(UUID: (GPU-[^()\s]+)\)`)
	listPart = lazyregexp.New(`^\s+MIG .*Device +(\d{1,4}): \(UUID: (MIG-[^()\s]+)\)`)
)

// List adds to the parts of divided GPUs the UUIDs that nvidia-smi -L prints. Most
// drivers do not have them in their XML.
func (inv Inventory) List(output []byte) (Inventory, error) {
	if len(output) > maxOutput {
		return inv, fmt.Errorf("the output of nvidia-smi is over %d bytes", maxOutput)
	}
	found := map[string]string{}
	gpu := ""
	for line := range strings.Lines(string(output)) {
		if m := listGPU.FindStringSubmatch(line); m != nil {
			gpu = m[1]
		} else if m := listPart.FindStringSubmatch(line); m != nil && gpu != "" {
			found[gpu+":"+m[1]] = uuid(m[2])
		}
	}
	for i, d := range inv.Devices {
		if d.isPart() && d.UUID == "" {
			inv.Devices[i].UUID = found[d.Index]
		}
	}
	return inv, inv.check()
}

// isPart reports whether d is a part of a GPU that is divided.
func (d Device) isPart() bool { return strings.Contains(d.Index, ":") }

// lacksUUIDs reports whether there are parts whose UUIDs are not known.
func (inv Inventory) lacksUUIDs() bool {
	for _, d := range inv.Devices {
		if d.isPart() && d.UUID == "" {
			return true
		}
	}
	return false
}
