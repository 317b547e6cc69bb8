// Package run starts programs for tests, and reports how they ended.
package run

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Result is the result of a command.
type Result struct {
	Command        string
	Stdout, Stderr string
	Code           int // 128 and the number of the signal that ended it; -1: it did not start
}

// String implements fmt.Stringer.
func (r Result) String() string {
	return fmt.Sprintf("%s: exit code %d\nstdout: %s\nstderr: %s", r.Command, r.Code, Clip(r.Stdout), Clip(r.Stderr))
}

// Clip leaves out the middle of a long text.
func Clip(s string) string {
	const most = 4000
	if len(s) > most {
		return s[:most/2] + "\n…\n" + s[len(s)-most/2:]
	}
	return s
}

// Command runs cmd with text as its standard input, calls started as soon as it runs,
// and kills it if it takes longer than patience. name is what it is called in the result.
func Command(cmd *exec.Cmd, name, text string, patience time.Duration, started ...func()) Result {
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), &stdout, &stderr
	// A process that the command leaves in the background may keep its output open. The test must
	// not wait for that.
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Start()
	if err == nil {
		for _, f := range started {
			f()
		}
		timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		err = cmd.Wait()
		if !timer.Stop() {
			stderr.WriteString("\n(killed: it took too long)")
		}
	}
	r := Result{Command: name, Stdout: stdout.String(), Stderr: stderr.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.Code = exit.ExitCode()
		if how, ok := exit.Sys().(syscall.WaitStatus); ok && how.Signaled() {
			r.Code = 128 + int(how.Signal()) // as a shell has it
		}
	case err != nil:
		r.Code, r.Stderr = -1, r.Stderr+err.Error()
	}
	return r
}

// Main is a package's TestMain: all prepares what the tests share, runs them, and removes
// it again.
func Main(m *testing.M, name string, all func(*testing.M) (code int, err error)) {
	code, err := all(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		code = 1
	}
	os.Exit(code)
}
