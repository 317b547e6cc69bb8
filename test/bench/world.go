//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"keyway/test/lab"
)

// bench is the environment of the sections: the lab with all contenders in it, if a section needs
// it, and the number of repetitions.
type bench struct {
	lab   *lab.Lab
	bin   string // the programs
	agent string // the laptop's SSH_AUTH_SOCK, the same for all
	runs  int    // connections
	bulk  int    // transfers and starts
}

// contender is one route into a container, by its name in the laptop's ssh_config.
type contender struct {
	host string
	what string
}

// The contenders. Warm is OpenSSH at its best: an existing connection that is shared.
var (
	ours        = contender{"train", "`ssh train`, link up"}
	published   = contender{"published", "`ssh -J bastion`, port published"}
	unpublished = contender{"unpublished", "`ssh -J bastion,gpu1`, container's own address"}
	held        = contender{"held", "`ssh train`, with the mux"}
	warm        = contender{"warm", "the same with a ControlMaster that is up"}
)

// start starts the lab with all contenders in it.
func (b *bench) start(ctx context.Context) error {
	if err := b.startLab(ctx, lab.Base, lab.SSHD); err != nil {
		return err
	}
	if err := b.startSSHDs(); err != nil {
		return err
	}
	return b.startOurs()
}

// startLab starts a lab with those images, and an agent with the key on its laptop.
func (b *bench) startLab(ctx context.Context, images ...lab.Image) error {
	bin, err := os.MkdirTemp("", "keyway-bench-")
	if err != nil {
		return err
	}
	b.bin = bin
	if err := lab.BuildRelease(ctx, bin); err != nil {
		return err
	}
	if err := inPieces(filepath.Join(bin, "keyway")); err != nil {
		return err
	}
	l, err := lab.Start(ctx, lab.Options{Bin: bin, Docker: true, Images: images, Say: say})
	if err != nil {
		return err
	}
	b.lab = l
	if l.DockerError != nil {
		return l.DockerError
	}
	if l.Mode != lab.Namespaces {
		return errors.New("measuring needs network namespaces, which are not permitted here")
	}
	tool, err := os.ReadFile(filepath.Join(bin, "labtool"))
	if err != nil {
		return err
	}
	for _, h := range []*lab.Host{l.Laptop, l.GPU} {
		if err := h.WriteFile(stopwatch, string(tool), 0o755); err != nil {
			return err
		}
	}
	return b.startAgent()
}

// inPieces rewrites a program, 16 KiB at a time. The kernel keeps what is written at once in large
// pieces of its page cache, of up to 2 MiB, and since Linux 6.18 maps whole pieces at the first
// touch of each: how a file came there would show as the memory of its processes. A mux at rest had
// 15.9 MB resident of a file as the linker writes it, and 8.2 of one so written.
func inPieces(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	for piece := range slices.Chunk(data, 16<<10) {
		if _, err := f.Write(piece); err != nil {
			f.Close()
			return err
		}
	}
	return errors.Join(f.Close(), os.Rename(path+".new", path))
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (b *bench) close() {
	var err error
	if b.lab != nil {
		err = b.lab.Close()
	}
	if b.bin != "" {
		err = errors.Join(err, os.RemoveAll(b.bin))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// laptop prepares a command on the laptop with the agent.
func (b *bench) laptop(name string, args ...string) *exec.Cmd {
	cmd := b.lab.Laptop.Command(name, args...)
	cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+b.agent)
	return cmd
}

func check(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args[4:], " "), err, out)
	}
	return nil
}

// startAgent starts keyway's agent on the laptop with the key in it: without it there is
// no mux.
func (b *bench) startAgent() error {
	b.agent = "/run/agent.sock"
	if err := check(b.laptop("keyway", "agent", "-a", b.agent)); err != nil {
		return err
	}
	add := b.laptop("ssh-add")
	add.Env = append(add.Env, b.lab.AskpassEnv()...)
	return check(add)
}

// startSSHDs starts two containers with an OpenSSH sshd, one with its port
// published on the GPU machine, one without, and gives the laptop their names.
func (b *bench) startSSHDs() error {
	gpu := b.lab.GPU
	prepare := "mkdir -p /srv/keys && ssh-keygen -q -t ed25519 -N '' -f /srv/keys/host_key && cp /root/.ssh/authorized_keys /srv/keys/"
	if _, err := gpu.Output("sh", "-c", prepare); err != nil {
		return err
	}
	for name, extra := range map[string][]string{"published": {"-p", "2222:22"}, "unpublished": nil} {
		args := append([]string{"run", "-d", "--name", name, "-v", "/srv/keys:/etc/ssh/keys:ro"}, extra...)
		if _, err := b.lab.Docker(append(args, string(lab.SSHD))...); err != nil {
			return err
		}
	}
	address, err := b.lab.Docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "unpublished")
	if err != nil {
		return err
	}
	return b.nameSSHDs(address)
}

func (b *bench) nameSSHDs(address string) error {
	hostKey, err := b.lab.GPU.ReadFile("/srv/keys/host_key.pub")
	if err != nil {
		return err
	}
	entries := fmt.Sprintf(`
Host published
  HostName %[1]s
  Port 2222
  User root
  ProxyJump bastion
Host unpublished warm
  HostName %[2]s
  User root
  ProxyJump gpu1
Host warm
  ControlMaster auto
  ControlPath /run/cm-%%C
  ControlPersist yes
`, b.lab.GPU.Address, address)
	known := fmt.Sprintf("[%s]:2222 %s%s %s", b.lab.GPU.Address, hostKey, address, hostKey)
	for file, text := range map[string]string{"/root/.ssh/config": entries, "/root/.ssh/known_hosts": known} {
		old, err := b.lab.Laptop.ReadFile(file)
		if err != nil {
			return err
		}
		if err := b.lab.Laptop.WriteFile(file, old+text, 0o600); err != nil {
			return err
		}
	}
	for _, c := range []contender{published, unpublished} {
		if err := check(b.laptop("ssh", c.host, "true")); err != nil {
			return err
		}
	}
	return nil
}

// startOurs makes the workspace as a user would.
func (b *bench) startOurs() error {
	for _, args := range [][]string{
		{"init", "--yes"},
		{"unlock"},
		{"up", "--on", "gpu1", "--image", string(lab.Base), "--name", ours.host},
	} {
		if err := check(b.laptop("keyway", args...)); err != nil {
			return err
		}
	}
	if err := check(b.laptop("ssh", ours.host, "true")); err != nil {
		return err
	}
	return b.startHeld()
}

// startHeld makes a workspace that the mux holds ready.
func (b *bench) startHeld() error {
	if err := check(b.laptop("keyway", "up", "--on", "gpu1", "--image", string(lab.Base), "--name", held.host, "--mux")); err != nil {
		return err
	}
	if err := check(b.laptop("ssh", held.host, "true")); err != nil {
		return err
	}
	ready := "for i in $(seq 600); do keyway mux | grep -q '^" + held.host + ": ready' && exit 0; sleep 0.1; done; exit 1"
	return check(b.laptop("sh", "-c", ready))
}
