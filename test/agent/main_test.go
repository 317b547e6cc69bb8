//go:build linux

// Package agent tests keyway's agent, as the program that users run, with OpenSSH's own programs
// and their regression tests.
package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/test/lab"
	"keyway/test/lab/run"
)

// bin has keyway and the lab's tool.
var bin string

func TestMain(m *testing.M) { run.Main(m, "test/agent", runAll) }

func runAll(m *testing.M) (code int, err error) {
	ctx := context.Background()
	// The tests wait more than they compute.
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(3*runtime.NumCPU())); err != nil {
		return 1, err
	}
	if err := lab.Install(ctx, "test"); err != nil {
		return 1, err
	}
	if bin, err = os.MkdirTemp("", "kwprog"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(bin)) }()
	if err := buildWithGitHost(ctx, bin); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, closeWorld()) }()
	return m.Run(), nil
}

// gitHost is the private host key of a public git host of the test's own.
var gitHost []byte

// buildWithGitHost builds the programs with one more public git host in the list.
func buildWithGitHost(ctx context.Context, bin string) error {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(key, "git")
	if err != nil {
		return err
	}
	gitHost = pem.EncodeToMemory(block)
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return err
	}
	root, err := lab.ModuleRoot()
	if err != nil {
		return err
	}
	list := filepath.Join(root, "internal", "policy", "githosts.go")
	source, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	const begin = "var gitHosts = map[string]string{\n"
	before, after, ok := strings.Cut(string(source), begin)
	if !ok {
		return errors.New("the list of git hosts begins otherwise")
	}
	changed := before + begin + fmt.Sprintf("\t%q: %q,\n", ssh.FingerprintSHA256(signer.PublicKey()), "git") + after
	flags := os.Getenv("GOFLAGS")
	replaced, err := overlaid(flags)
	if err != nil {
		return err
	}
	replaced[list] = filepath.Join(bin, "githosts.go")
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return err
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(bin, "githosts.go"), []byte(changed), 0o600),
		os.WriteFile(filepath.Join(bin, "overlay.json"), overlay, 0o600),
		os.Setenv("GOFLAGS", flags+" -overlay="+filepath.Join(bin, "overlay.json")),
	); err != nil {
		return err
	}
	defer os.Setenv("GOFLAGS", flags)
	return lab.Build(ctx, bin)
}

// overlaid returns the files that flags for the go command replace already: a mutant of the source
// (test/mutants), which a second overlay would hide.
func overlaid(flags string) (map[string]string, error) {
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for _, f := range strings.Fields(flags) {
		path, ok := strings.CutPrefix(f, "-overlay=")
		if !ok {
			continue
		}
		data, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(data, &overlay)
		}
		if err != nil {
			return nil, err
		}
	}
	return overlay.Replace, nil
}

// place is a directory of a test's own, with a copy of the program, because one of OpenSSH's tests
// changes the program's owner and mode.
type place struct {
	dir     string
	program string
}

func newPlace(t *testing.T, preset string) place {
	t.Helper()
	// Not t.TempDir: some of OpenSSH's tests filter configurations by words that
	// may be in a test's name, and sockets need short paths.
	dir, err := os.MkdirTemp("", "kwr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := place{dir: dir, program: filepath.Join(dir, "bin", "ssh-agent")}
	for _, d := range []string{"", "bin", "state", "config", "config/keyway", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(bin, "keyway"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config/keyway/policy.yaml"), []byte("preset: "+preset+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// env returns the environment with the place's own directories and no agent.
func (p place) env(more ...string) []string {
	env := []string{
		"PATH=" + filepath.Join(p.dir, "bin") + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin:.",
		"HOME=" + p.dir, "LANG=C", "SHELL=/bin/sh",
		"XDG_STATE_HOME=" + filepath.Join(p.dir, "state"),
		"XDG_CONFIG_HOME=" + filepath.Join(p.dir, "config"),
		"XDG_RUNTIME_DIR=" + filepath.Join(p.dir, "run"),
	}
	return append(env, more...)
}

// give changes the owner of all files of the place.
func (p place) give(t *testing.T, uid int) {
	t.Helper()
	err := filepath.WalkDir(p.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// freePort returns a free port that the system assigns to no socket by itself, so that it stays
// free until it is used.
func freePort(t *testing.T) string {
	t.Helper()
	port := ""
	for {
		port = strconv.Itoa(10_000 + rand.IntN(20_000))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		break
	}
	return port
}

// run runs a command to its end and returns its output.
func (p place) run(t *testing.T, limit time.Duration, dir string, env []string, argv ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 10 * time.Second // until the sshd processes of the last login have ended, which takes long on a busy machine
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("not done within %v: %w", limit, err)
	}
	return out.String(), err
}
