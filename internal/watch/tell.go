package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"keyway/internal/keyway"
	"keyway/internal/plain"
)

const (
	maxConfig = 64 << 10 // bytes
	maxWords  = 100      // of a command
	// tellTimeout bounds the time of the desktop's notification, and that of the user's command.
	tellTimeout = time.Minute
)

// Config is config.yaml.
type Config struct {
	// OnExit is the command that is run when a job has ended: a program and its
	// arguments, without a shell.
	OnExit []string `yaml:"on-exit"`
	// Clipboard permits the output of a session to set the clipboard of the terminal that shows it.
	Clipboard bool `yaml:"clipboard"`
	// Mux says that ssh has sessions in new workspaces on the connection that keyway's
	// mux holds.
	Mux bool `yaml:"mux"`
}

// ReadConfig reads config.yaml; no file is an empty one.
func ReadConfig(path string) (Config, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return Config{}, nil
	}
	if err != nil {
		return Config{}, badConfig(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(data) > maxConfig {
		err = fmt.Errorf("it is over %d bytes", maxConfig)
	}
	if err != nil {
		return Config{}, badConfig(path, err)
	}
	c, err := parseConfig(data)
	if err != nil {
		return Config{}, badConfig(path, err)
	}
	return c, nil
}

func parseConfig(data []byte) (c Config, err error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, err
	}
	if len(c.OnExit) > maxWords || len(c.OnExit) > 0 && c.OnExit[0] == "" {
		return Config{}, fmt.Errorf("on-exit needs a program and at most %d arguments", maxWords-1)
	}
	return c, nil
}

func badConfig(path string, err error) error {
	return keyway.Errorf(keyway.BadConfig, "%s: %w", path, err).
		Hint("for example:\non-exit: [curl, -s, -d, a job has ended, https://example.org/hook]")
}

// Teller returns a function that reports ends: on the desktop, if there is one, and by the
// command in the configuration at path.
func Teller(ctx context.Context, path string, log *slog.Logger) func(Job, End) {
	return func(j Job, e End) {
		title := plain.Sprintf("%s/%s %s", j.Workspace, j.Session, e)
		log.Info("job ended", "workspace", j.Workspace, "session", j.Session, "how", e.String())
		if argv, env := desktop(title, plain.Line(j.Command)); len(argv) > 0 {
			_ = tellBy(ctx, argv, env) // a laptop without a desktop has no place to report to
		}
		c, err := ReadConfig(path)
		if err == nil && len(c.OnExit) > 0 {
			err = tellBy(ctx, c.OnExit, facts(j, e))
		}
		if err != nil {
			log.Warn("on-exit", "error", err)
		}
	}
}

// tellBy runs a program with additions to the environment.
func tellBy(ctx context.Context, argv, env []string) error {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", argv[0], err, bytes.TrimSpace(out[:min(len(out), 1000)]))
	}
	return nil
}

// facts returns the environment of the user's command, beside the watch's own.
func facts(j Job, e End) []string {
	return []string{
		"KEYWAY_WORKSPACE=" + string(j.Workspace), "KEYWAY_SESSION=" + string(j.Session), "KEYWAY_COMMAND=" + j.Command,
		"KEYWAY_EXIT_CODE=" + strconv.Itoa(e.Code), "KEYWAY_SIGNAL=" + e.Signal, "KEYWAY_OOM=" + strconv.FormatBool(e.OOM),
		"KEYWAY_RESULT=" + e.String(),
	}
}
