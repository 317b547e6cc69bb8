//go:build linux

// Package faults breaks everything between a user's programs and the guest while they work: stock
// ssh, scp, sftp, rsync and git on one side, the real guest on the other, in the lab. It checks
// that the programs lose no byte and report no error.
package faults

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keyway/internal/link"
	"keyway/test/lab"
	"keyway/test/lab/run"
)

// train is the workspace that every lab here has.
const train = "train"

var (
	bin  string // the built programs
	data string // a directory with what the tests send
	big  sample
)

var (
	duration = flag.Duration("duration", time.Minute, "how long TestKillAtRandom kills")
	size     = flag.Int64("size", 2<<10, "MiB, and one byte more, of the file that TestKill copies")
)

func TestMain(m *testing.M) {
	flag.Parse()
	run.Main(m, "faults", runAll)
}

func runAll(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if err := lab.Install(ctx, "test"); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "keyway-faults-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	bin, data = filepath.Join(dir, "bin"), dir
	if err := lab.Build(ctx, bin); err != nil {
		return 1, err
	}
	if big, err = newSample("big", *size<<20+1); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// sample is a file of random bytes that all labs share.
type sample struct {
	path string // on this machine
	sum  string // its SHA-256, as sha256sum prints it
	size int64
}

func newSample(name string, size int64) (sample, error) {
	path := filepath.Join(data, name)
	f, err := os.Create(path)
	if err != nil {
		return sample{}, err
	}
	defer f.Close()
	h := sha256.New()
	noise := rand.NewChaCha8([32]byte{byte(len(name))})
	if _, err := io.CopyN(io.MultiWriter(f, h), noise, size); err != nil {
		return sample{}, err
	}
	return sample{path, hex.EncodeToString(h.Sum(nil)), size}, f.Close()
}

// world is a lab with a workspace in it, and the tests' methods.
type world struct {
	*lab.Lab
	t *testing.T
}

// start makes a lab with a workspace: in a container if there are images, else
// the GPU machine itself. prepare is called before anything has connected.
func start(t *testing.T, o lab.Options, prepare ...func(w *world)) *world {
	t.Helper()
	o.Bin = bin
	l, err := lab.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{l, t}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := l.Laptop.ReadFile("/root/.local/state/keyway/link.log")
			t.Logf("the link's log:\n%s", run.Clip(text))
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	switch {
	case o.Docker && l.DockerError != nil:
		t.Fatal(l.DockerError)
	case l.Mode != lab.Namespaces:
		t.Fatal("these tests need network namespaces")
	}
	for _, f := range prepare {
		f(w)
	}
	w.must("keyway", "init", "--yes")
	w.must("keyway", "unlock")
	up := []string{"keyway", "up", "--on", "gpu1", "--name", train}
	if len(o.Images) > 0 {
		up = append(up, "--image", string(o.Images[0]))
	}
	w.must(up...)
	return w
}

// patience bounds the time of a command. It is far longer than any command takes, so that a hang
// fails one test and not the run.
const patience = 20 * time.Minute

// command prepares a command on the laptop, with the lab's askpass program for questions.
func (w *world) command(argv ...string) *exec.Cmd {
	cmd := w.Laptop.Command(argv[0], argv[1:]...)
	cmd.Env = append(cmd.Env, w.AskpassEnv()...)
	cmd.WaitDelay = 10 * time.Second // its children may hold its output open
	return cmd
}

// run runs a command on the laptop, without standard input, and returns its standard output. The
// error has all its output.
func (w *world) run(argv ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := w.command(argv...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begin := time.Now()
	err := cmd.Start()
	if err == nil {
		timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		err = cmd.Wait()
		timer.Stop()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w after %v\nstdout: %s\nstderr: %s", strings.Join(argv, " "), err,
			time.Since(begin).Round(time.Millisecond), run.Clip(stdout.String()), run.Clip(stderr.String()))
	}
	return stdout.String(), err
}

// must is run for commands that must succeed before a test begins.
func (w *world) must(argv ...string) string {
	w.t.Helper()
	out, err := w.run(argv...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// put gives the laptop's user a sample, without a copy of its bytes. It uses the path of the home
// directory on this machine, because links do not cross mounts.
func (w *world) put(s sample, name string) {
	w.t.Helper()
	if err := os.Link(s.path, filepath.Join(w.Dir(), "laptop", "root", name)); err != nil {
		w.t.Fatal(err)
	}
}

// status returns the state of the link.
func (w *world) status() (link.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := link.Running(ctx, w.Laptop.Path("/tmp/keyway-0"), nil)
	if err != nil {
		return link.Status{}, err
	}
	return c.Status(ctx)
}

// moved returns the number of bytes that the link's streams have moved. A change means progress.
func (w *world) moved() int64 {
	s, err := w.status()
	if err != nil {
		return -1
	}
	var n int64
	for _, p := range s.Places {
		for _, stream := range p.Streams {
			n += stream.Up + stream.Down
		}
	}
	return n
}

// upFor returns the time for which the uplink to the GPU machine has been up.
func (w *world) upFor() time.Duration {
	s, err := w.status()
	if err != nil {
		return 0
	}
	for _, p := range s.Places {
		if p.Place == "gpu1" && p.State == "up" {
			return time.Since(p.Since)
		}
	}
	return 0
}
