//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"keyway/internal/keyway"
)

// section is one measurement: a part of the report that can be made alone.
type section struct {
	name  string // for -only and for its place in the report
	title string // its heading
	lab   bool   // needs the lab with all contenders in it
	// measure returns the results in Markdown, without a heading. It leaves the lab unchanged.
	measure func(ctx context.Context, b *bench) (string, error)
}

// render adds the heading, the date and the machine to the results.
func (s section) render(text string, began time.Time) string {
	return fmt.Sprintf("## %s\n\n%s, %s, %d CPUs, Linux %s, %s. Again: `make bench ONLY=%s`\n\n%s\n", s.title,
		began.UTC().Format("2006-01-02"), cpuModel(), runtime.NumCPU(), firstLine("uname", "-r"), firstLine("ssh", "-V"), s.name,
		strings.TrimSpace(text))
}

// targets is a table of targets and results.
type targets struct{ strings.Builder }

// add adds a target. The first one adds the head of the table, too.
func (t *targets) add(target, measured string, hit bool) {
	if t.Len() == 0 {
		t.WriteString("| target | measured | |\n|---|--:|---|\n")
	}
	verdict := "**missed**"
	if hit {
		verdict = "hit"
	}
	fmt.Fprintf(t, "| %s | %s | %s |\n", target, measured, verdict)
}

func ratio(a, b time.Duration) float64 { return a.Seconds() / b.Seconds() }

func mb(bytes int64) float64 { return float64(bytes) / 1_000_000 }

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func firstLine(name string, args ...string) string {
	out, _ := exec.Command(name, args...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

// A section stands between these two lines of the file.
func marks(name string) (begin, end string) {
	return "<!-- make bench: " + name + " -->\n", "<!-- end of " + name + " -->\n"
}

// keep writes a section's text to its place in the file. A section that the file does not have yet
// is inserted before the first section that follows it in order, or at the end.
func keep(file string, order []string, name, text string) error {
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return keyway.WriteFile(file, []byte(place(string(data), order, name, text)), 0o644)
}

func place(file string, order []string, name, text string) string {
	begin, end := marks(name)
	whole := begin + "\n" + text + "\n" + end
	if before, rest, found := strings.Cut(file, begin); found {
		if _, after, found := strings.Cut(rest, end); found {
			return before + whole + after
		}
	}
	_, following, _ := strings.Cut("\n"+strings.Join(order, "\n")+"\n", "\n"+name+"\n")
	for next := range strings.FieldsSeq(following) {
		begin, _ := marks(next)
		if before, after, found := strings.Cut(file, begin); found {
			return before + whole + "\n" + begin + after
		}
	}
	if file = strings.TrimRight(file, "\n"); file == "" {
		file = "# Benchmarks"
	}
	return file + "\n\n" + whole
}
