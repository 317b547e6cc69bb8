//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build builds keyway and the lab's own tool into dir, as go build does it.
func Build(ctx context.Context, dir string) error {
	return build(ctx, dir, "./cmd/keyway", "./test/lab/labtool")
}

// BuildRelease is Build with keyway as make build makes it: with a guest of its
// own inside, instead of a copy of itself.
func BuildRelease(ctx context.Context, dir string) error {
	if err := build(ctx, dir, "./test/lab/labtool"); err != nil {
		return err
	}
	root, err := Make(ctx, "build")
	if err != nil {
		return err
	}
	program, err := os.ReadFile(filepath.Join(root, "bin", "keyway"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "keyway"), program, 0o755)
}

func build(ctx context.Context, dir string, packages ...string) error {
	root, err := ModuleRoot()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-o", dir + string(filepath.Separator)}, packages...)...)
	cmd.Dir = root
	// Go's stamping fails in a clone that belongs to another user.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="+os.Getenv("GOFLAGS")+" -buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// Make runs make in the module's root, and returns where that is.
func Make(ctx context.Context, args ...string) (root string, err error) {
	if root, err = ModuleRoot(); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "make", append([]string{"-s"}, args...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return root, fmt.Errorf("make %s: %w\n%s", args[0], err, out)
	}
	return root, nil
}

// ModuleRoot returns the directory with go.mod, from the working directory upwards.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod here or above: run this inside the source tree")
		}
		dir = up
	}
}

// Install installs the missing packages that the lab and the tests need, with the script beside
// this file. what is demo, bench or test.
func Install(ctx context.Context, what string) error {
	root, err := ModuleRoot()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "test", "lab", "install"), what)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}
