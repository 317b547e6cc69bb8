package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"keyway/internal/keyway"
)

// TestHelpBeginsWithWhatPeopleNeed checks that the usage comes before the meaning of exit codes.
func TestHelpBeginsWithWhatPeopleNeed(t *testing.T) {
	commands(newRootCommand(), func(c *cobra.Command) {
		var out bytes.Buffer
		c.Root().SetOut(&out)
		c.HelpFunc()(c, nil)
		text := out.String()
		usage, examples, options, codes := strings.Index(text, "\nUsage:"), strings.Index(text, "\nExamples:"), strings.Index(text, "\nFlags:"), strings.Index(text, "\nExit code")
		if usage < 0 || examples < usage || options >= 0 && codes >= 0 && codes < options || codes >= 0 && codes < examples {
			t.Errorf("%s: usage at %d, examples at %d, options at %d, exit codes at %d", c.CommandPath(), usage, examples, options, codes)
		}
		if strings.Count(text, "Exit code") > 1 {
			t.Errorf("%s tells its exit codes twice", c.CommandPath())
		}
	})
}

// TestOptionsReadWell checks that an option's placeholder is a word in capitals, in a readable
// sentence.
func TestOptionsReadWell(t *testing.T) {
	commands(newRootCommand(), func(c *cobra.Command) {
		if c.Name() == "agent" {
			return // as ssh-agent has them
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			value, usage := pflag.UnquoteUsage(f)
			if f.Value.Type() == "bool" || f.Hidden || !strings.Contains(f.Usage, "`") {
				return
			}
			if value != strings.ToUpper(value) || strings.HasPrefix(usage, value) || strings.Contains(usage, value+": "+value) {
				t.Errorf("%s --%s %s: %s", c.CommandPath(), f.Name, value, usage)
			}
		})
	})
}

// TestHelpFitsAWindow checks that the text and the examples of a command's help fit a window that
// people read in beside others.
func TestHelpFitsAWindow(t *testing.T) {
	const columns = 94
	commands(newRootCommand(), func(c *cobra.Command) {
		for line := range strings.Lines(c.Long + "\n" + c.Example) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > columns {
				t.Errorf("%s: a line of %d characters, more than %d: %s", c.CommandPath(), n, columns, line)
			}
		}
	})
}

func TestWordsOfOtherProgramsLeadHere(t *testing.T) {
	for word, says := range map[string]string{
		"version": "keyway --version", "exec": "keyway run NAME -- COMMAND", "ps": "keyway ls", "down": "keyway stop NAME", "DOWN": "keyway stop NAME",
		"delete": "keyway rm", "statsu": "keyway status", "exec -it train bash": "keyway ssh NAME", "ps -a": "keyway ls", "help ps": "keyway ls",
		"nvidia-smi": "keyway gpus", "scp x train:": "scp FILE", "port-forward train 80": "keyway open", "sbatch --gpus 2 x.sh": "keyway run NAME -d",
		"up -p 8080:80": "keyway open NAME PORT", "up -d": "until keyway stop", "up -it": "keyway ssh NAME", "up --rm": "keyway rm NAME", "up -w /x": "--workdir DIR",
		"up --net host": "--network NETWORK", "up --gpu 2": "did you mean: --gpus", "up --shm 2gb": "--shm-size", "up --host gpu1": "--on PLACE",
		"run train ls -la": "keyway run train -- ls", "run train python --epochs 3": "keyway run train -- python", "ls --jsno": "did you mean: --json",
		"run -it train": "keyway run --help",
	} {
		out, err := execute(strings.Fields(word)...)
		if err == nil || !strings.Contains(out, says) {
			t.Errorf("%s: %s", word, out)
		}
	}
	for word, same := range sameWord {
		if meant[same] == "" || meant[word] != "" {
			t.Errorf("%s leads to %s", word, same)
		}
	}
	known := map[string]bool{}
	commands(newRootCommand(), func(c *cobra.Command) { known[c.Name()] = true })
	for word, say := range meant {
		if known[word] {
			t.Errorf("%s is a command", word)
		}
		for line := range strings.Lines(say) {
			if rest, ok := strings.CutPrefix(line, "keyway "); ok && !strings.HasPrefix(rest, "--") && !known[strings.Fields(rest)[0]] {
				t.Errorf("%s leads to %q", word, line)
			}
		}
	}
}

// Every command has a page that man shows without a complaint, and on 80 columns. manColumns is the
// longest line that man shows unchanged: the page's margins take the rest of 80 columns.
const manColumns = 72

func TestManualPages(t *testing.T) {
	dir := t.TempDir()
	if out, err := execute("man", dir); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		t.Fatal(err)
	}
	commands(newRootCommand(), func(c *cobra.Command) {
		page := filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1")
		if !slices.Contains(pages, page) {
			t.Errorf("%s has no page", c.CommandPath())
			return
		}
		for line := range strings.Lines(c.Long + "\n" + c.Example) { // which man does not fill
			if strings.HasPrefix(line, " ") && utf8.RuneCountInString(strings.TrimRight(line, "\n")) > manColumns {
				t.Errorf("%s: over %d columns: %s", c.CommandPath(), manColumns, line)
			}
		}
		text, err := os.ReadFile(page)
		for _, part := range []string{".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH EXAMPLES"} {
			if err != nil || !strings.Contains(string(text), part) {
				t.Errorf("%s: no %s in %s, %v", c.CommandPath(), part, text, err)
			}
		}
	})
	if _, err := exec.LookPath("groff"); err == nil {
		out, err := exec.Command("groff", append([]string{"-man", "-Tutf8", "-ww", "-z"}, pages...)...).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("groff: %v %s", err, out)
		}
		for _, page := range pages {
			shown, err := exec.Command("groff", "-man", "-Tutf8", "-P-cbou", "-rLL=80n", page).Output()
			for line := range strings.Lines(string(shown)) {
				if err != nil || len([]rune(strings.TrimRight(line, "\n"))) > 80 {
					t.Errorf("%s, %v: %s", page, err, line)
				}
			}
		}
	}
}

func TestJobsAreCompleted(t *testing.T) {
	list := `[{"name":"old","state":"ended","command":["make"]},{"name":"exp7","state":"running","command":["python","\u001b[31mtrain.py"]},
		{"name":"../x","state":"running"},{"name":"taken","state":"running"}]`
	got := completeList([]byte(list), "train", []string{"train/taken"})
	want := []cobra.Completion{"train/exp7\trunning: python ?[31mtrain.py", "train/old\tended: make"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := completeList([]byte("nonsense"), "train", nil); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// TestProgressIsNotCut checks that a message that does not fit is printed completely, once, and
// that a bar fits its line.
func TestProgressIsNotCut(t *testing.T) {
	reason := "docker may not be used (permission denied: add ada to the group docker), so it is podman"
	for _, c := range []struct {
		p       keyway.Progress
		columns int
		line    string
		bar     string
	}{
		{keyway.Progress{Message: reason}, 40, reason + "\n", ""},
		{keyway.Progress{Message: reason}, 200, "", reason},
		{keyway.Progress{Message: reason, Done: 1, Total: 2}, 80, reason + "\n", "  ████████████░░░░░░░░░░░░ 1 B of 2 B"},
		{keyway.Progress{Message: "pull", Done: 2000}, 80, "", "pull  2.0 kB"},
		{keyway.Progress{Message: "pull", Done: 1, Total: 2}, 20, "", "pull  ████████████░"},
	} {
		line, bar := progressText(c.p, c.columns)
		if line != c.line || bar != c.bar {
			t.Errorf("%+v in %d columns: %q and %q", c.p, c.columns, line, bar)
		}
	}
}

// TestKindsAreExplained checks that the help explains exactly the exit codes of docs/EXIT-CODES.md.
// internal/layout compares that document with the kinds.
func TestKindsAreExplained(t *testing.T) {
	doc, err := os.ReadFile("../../docs/EXIT-CODES.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| ([0-9]+) \\| `([a-z-]+)` \\|").FindAllStringSubmatch(string(doc), -1)
	if len(rows) != len(kindMeaning) {
		t.Errorf("docs/EXIT-CODES.md has %d kinds, and the help explains %d", len(rows), len(kindMeaning))
	}
	for _, row := range rows {
		kind := keyway.Kind(row[2])
		if got := fmt.Sprint(code(kind)); kindMeaning[kind] == "" || got != row[1] {
			t.Errorf("%s: the help explains it as %q, with code %s, want %s", kind, kindMeaning[kind], got, row[1])
		}
	}
}
