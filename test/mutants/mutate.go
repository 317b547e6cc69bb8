package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// change returns the source of m's file with the change made.
func (m mutant) change() (string, error) {
	source, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		return "", fmt.Errorf("%q: %s contains the text to change %d times, not once:\n%s", m.claim, m.file, n, m.old)
	}
	return strings.Replace(string(source), m.old, m.new, 1), nil
}

// passes returns an error unless m's tests exist and pass without the change. Otherwise, their
// failure would prove nothing.
func passes(ctx context.Context, m mutant) error {
	out, err := goTest(ctx, m, "")
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("%s -run %s fails without a mutant:\n%s", m.pkg, m.run, out)
	case bytes.Contains(out, []byte("no tests to run")):
		return fmt.Errorf("%q: %s has no test %s", m.claim, m.pkg, m.run)
	}
	return nil
}

// try reports whether m's tests fail with the change.
func try(ctx context.Context, m mutant) (killed bool, err error) {
	changed, err := m.change()
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "keyway-mutant-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	overlay, err := writeOverlay(dir, m.file, changed)
	if err != nil {
		return false, err
	}
	out, err := goTest(ctx, m, "-overlay="+overlay)
	for _, sign := range []string{"[build failed]", "[setup failed]"} {
		if bytes.Contains(out, []byte(sign)) {
			return false, fmt.Errorf("%q does not compile:\n%s", m.claim, out)
		}
	}
	return err != nil, ctx.Err()
}

// writeOverlay writes changed and the description that puts it in file's place,
// and returns the description's path.
func writeOverlay(dir, file, changed string) (string, error) {
	absolute, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	source := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(source, []byte(changed), 0o600); err != nil {
		return "", err
	}
	description, err := json.Marshal(map[string]any{"Replace": map[string]string{absolute: source}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, description, 0o600)
}

// goTest runs m's tests with flags for the go command.
func goTest(ctx context.Context, m mutant, flags string) ([]byte, error) {
	return goTool(ctx, flags, "test", "-count=1", "-vet=off", "-timeout", "5m", "-run", m.run, "./"+m.pkg)
}

// goTool runs the go command. The flags travel in the environment, so that
// programs which a test builds are built with them, too.
func goTool(ctx context.Context, flags string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" "+flags))
	return cmd.CombinedOutput()
}
