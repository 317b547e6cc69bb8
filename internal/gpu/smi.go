package gpu

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"keyway/internal/bounded"
	"keyway/internal/keyway"
)

// smi is nvidia-smi, the program that reports GPUs.
type smi struct {
	program string        // its path; empty: looked for
	timeout time.Duration // how long it may take
}

const (
	// smiTimeout bounds the time of nvidia-smi. Without a persistent driver, it initializes each
	// GPU first, which takes seconds. A lost GPU may block it for ever.
	smiTimeout = 30 * time.Second
	// smiReap bounds the wait for a killed nvidia-smi. One that waits in the kernel cannot be
	// killed.
	smiReap = time.Second
)

// Where nvidia-smi is beside PATH, which an ssh that runs a command may have short:
// WSL, containers of GPU operators, images that bring it along.
var smiPaths = []string{"/usr/bin/nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi", "/usr/local/nvidia/bin/nvidia-smi", "/run/nvidia/driver/usr/bin/nvidia-smi"}

// find returns the path of nvidia-smi, or empty if there is none.
func (s smi) find() string {
	if s.program != "" {
		return s.program
	}
	if path, err := exec.LookPath("nvidia-smi"); err == nil {
		return path
	}
	for _, path := range smiPaths {
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// inventory asks for the GPUs of this machine. There is no program: errAbsent.
func (s smi) inventory(ctx context.Context) (Inventory, error) {
	path := s.find()
	if path == "" {
		return Inventory{}, errAbsent
	}
	output, err := s.run(ctx, path, "-q", "-x")
	if err != nil {
		return Inventory{}, err
	}
	inv, err := Parse(output)
	if err != nil || !inv.lacksUUIDs() {
		return inv, unreadable(err)
	}
	if output, err = s.run(ctx, path, "-L"); err != nil {
		return inv, err
	}
	inv, err = inv.List(output)
	return inv, unreadable(err)
}

// IsAbsent reports whether err says that this machine has no nvidia-smi, and so no
// GPU that is known of.
func IsAbsent(err error) bool { return errors.Is(err, errAbsent) }

// errAbsent means that this machine has no nvidia-smi, and so most likely no GPU.
var errAbsent = keyway.Errorf(keyway.NoGPU, "this place has no nvidia-smi: it has no NVIDIA GPU, or no driver for it").
	Hint("install NVIDIA's driver at the place").Advise(keyway.WithoutGPUs)

func unreadable(err error) error {
	if err == nil {
		return nil
	}
	return keyway.Errorf(keyway.NoGPU, "%w", err).Hint("see its output, at the place: nvidia-smi -q -x")
}

// run returns the output of nvidia-smi.
func (s smi) run(ctx context.Context, path string, args ...string) ([]byte, error) {
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	cmd := exec.CommandContext(timed, path, args...)
	cmd.WaitDelay = smiReap
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	// Parse refuses output that is longer than maxOutput.
	stdout, stderr := bounded.Buffer{Max: maxOutput + 1}, bounded.Buffer{Max: maxOutput + 1}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A program that waits in the kernel for a lost GPU does not end, even when it is killed. Its
	// caller must not wait. The goroutine ends with the program.
	ended := make(chan error, 1)
	go func() { ended <- cmd.Run() }()
	var err error
	select {
	case err = <-ended:
	case <-after(timed, 2*smiReap):
		return nil, cmpErr(ctx.Err(), s.hangs())
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case timed.Err() != nil:
		return nil, s.hangs()
	case errors.Is(err, os.ErrNotExist):
		return nil, errAbsent
	case err != nil && !warns(err, stdout.Bytes()):
		return nil, failed(path, stdout.Bytes(), stderr.Bytes(), err)
	}
	return stdout.Bytes(), nil
}

// warnings lists the exit codes with which nvidia-smi warns of a GPU that it has reported as the
// others: a power cable is missing, an interrupt is not handled, the infoROM is damaged.
var warnings = []int{8, 10, 14}

// warns reports whether nvidia-smi has ended with a warning, and its output is complete.
func warns(err error, output []byte) bool {
	var exit *exec.ExitError
	complete := bytes.Contains(output, []byte("</nvidia_smi_log>")) || bytes.HasPrefix(output, []byte("GPU "))
	return complete && errors.As(err, &exit) && slices.Contains(warnings, exit.ExitCode())
}

func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// after returns a channel that is closed d after ctx has ended.
func after(ctx context.Context, d time.Duration) <-chan struct{} {
	over := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(d, func() { close(over) }) })
	return over
}

func (s smi) hangs() error {
	return keyway.Errorf(keyway.NoGPU, "nvidia-smi has not answered in %v: the driver or one of the GPUs hangs", s.timeout).
		Hint("see the kernel's messages, at the place: sudo dmesg | grep -e NVRM -e Xid")
}

// failed returns the error of nvidia-smi, in its own words, which it prints to standard output.
func failed(path string, stdout, stderr []byte, err error) error {
	said := text(strings.Join(strings.FieldsFunc(string(append(stdout, stderr...)), func(r rune) bool { return r == '\n' || r == '\r' }), "; "))
	if said == "" {
		said = err.Error()
	}
	e := keyway.Errorf(keyway.NoGPU, "the GPUs of this place cannot be listed: %s says: %s", filepath.Base(path), said)
	switch {
	case strings.Contains(said, "Driver/library version mismatch"):
		return e.Hint("the driver was updated while it ran; at the place: sudo reboot")
	case strings.Contains(said, "couldn't communicate with the NVIDIA driver"):
		return e.Hint("the driver is not loaded; at the place: sudo modprobe nvidia, or install it again after a new kernel")
	}
	return e.Hint("see whether the driver works, at the place: nvidia-smi")
}
