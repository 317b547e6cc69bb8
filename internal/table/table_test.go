package table

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/clipperhouse/displaywidth"
)

var wide = []string{
	"plain", "世界", "テスト.py", "한국어", "é", "e\u0301", "🚀", "❤️", "1️⃣", "🇫🇷", "a世b", "ｆｕｌｌ", "▁▂▃", "", "──", "Ω≈ç√", "नमस्ते"[:6], "👍🏽",
}

// TestWidth compares the widths of texts with another library's.
func TestWidth(t *testing.T) {
	var tab Table
	for _, text := range wide {
		if got, want := tab.width(text), displaywidth.String(text); got != want {
			t.Errorf("%q takes %d columns, want %d", text, got, want)
		}
	}
}

func TestColumnsStandBelowEachOther(t *testing.T) {
	rows := [][]string{{"NAME", "COMMAND", "LAST"}}
	for i, text := range wide {
		rows = append(rows, []string{text, wide[len(wide)-1-i], "|"})
	}
	tab := Table{}
	tab.Rows(rows[:1])
	column := -1
	for _, line := range strings.Split(strings.TrimSuffix(tab.Rows(rows[1:]), "\n"), "\n") {
		before, _, _ := strings.Cut(line, "|")
		at := displaywidth.String(before)
		if column >= 0 && at != column {
			t.Errorf("the last column begins at %d, before at %d: %q", at, column, line)
		}
		column = at
	}
}

// TestTablesFitTheWindow checks that a table fits every window, and that nothing is shortened or
// hidden if there is room, or in a pipe.
func TestTablesFitTheWindow(t *testing.T) {
	long := strings.Repeat("世界 and more ", 20)
	rows := [][]string{
		{"NAME", "STATE", "COMMAND", "LAST LINE"},
		{"exp7", "running", "python train.py " + long, long},
		{"a-long-name-of-a-job", "exit code 1, out of memory meanwhile: 3 processes killed", "sh", "🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀"},
	}
	full := Table{}
	text := full.Rows(rows)
	if !strings.Contains(text, long) || strings.Contains(text, "…") {
		t.Errorf("something is left out in a pipe: %q", text)
	}
	for window := 300; window > 0; window-- {
		tab := Table{Window: window, Yield: []int{2, 3}}
		text := tab.Rows(rows)
		for line := range strings.Lines(text) {
			if w := displaywidth.String(strings.TrimSuffix(line, "\n")); w > window {
				t.Fatalf("a line of %d columns in a window of %d: %q", w, window, line)
			}
		}
		if strings.Count(text, "\n") != 3 || window >= 27 && !strings.Contains(text, "a-long-name-of-a-job") || window >= 12 && !strings.Contains(text, "exit") {
			t.Fatalf("in %d columns: %q", window, text)
		}
		// A command and a last line are never narrower than their heading.
		if whole := strings.Contains(text, "3 processes killed"); whole != (window >= 20+2+55+2+8+2+9) {
			t.Errorf("in %d columns the state gives way too early or too late: %q", window, text)
		}
	}
	// Later rows are aligned with earlier ones, and a column without a heading is never cut.
	tab := Table{Window: 60, Yield: []int{1}}
	first := tab.Rows([][]string{{"NAME", "IMAGE"}, {"one", long}})
	second := tab.Rows([][]string{{"two", "x", "not known here: keyway add gpu1/two"}})
	if !strings.HasPrefix(second, "two   x") || strings.Index(first, "IMAGE") != 6 || !strings.HasSuffix(second, "gpu1/two\n") {
		t.Errorf("%q, then %q", first, second)
	}
}

// TestExpect checks a table that is printed in parts, whose columns are fixed from the beginning.
func TestExpect(t *testing.T) {
	var tab Table
	tab.Expect([][]string{{"a", "place-of-seventeen"}, {"a-longer-name", "b"}})
	want := "NAME           PLACE               X\na              b                   1\n"
	if got := tab.Rows([][]string{{"NAME", "PLACE", "X"}, {"a", "b", "1"}}); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := tab.Rows([][]string{{"a-longer-name", "place-of-seventeen", "2"}}), "a-longer-name  place-of-seventeen  2\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestCut checks that no character is cut in its middle.
func TestCut(t *testing.T) {
	var tab Table
	for text, want := range map[string]string{
		"abcdef": "abc…", "世界世界": "世…", "a世界世": "a世…", "abcd": "abcd", "e\u0301e\u0301e\u0301e\u0301e\u0301": "e\u0301e\u0301e\u0301…",
	} {
		if got, _ := tab.cut(text, 4); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// TestWidthIsTmuxs compares the widths of texts with tmux's.
func TestWidthIsTmuxs(t *testing.T) {
	socket := ""
	tmux := func(args ...string) string {
		out, err := exec.Command("tmux", append([]string{"-u", "-f", "/dev/null", "-S", socket}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v %s", args, err, out)
		}
		return string(out)
	}
	unsure := []string{"❤️", "1️⃣", "🇫🇷", "👍🏽", "नमस्ते"[:6]} // terminals differ
	var tab Table
	for _, text := range wide {
		if slices.Contains(unsure, text) {
			continue
		}
		socket = filepath.Join(t.TempDir(), "tmux") // of a server of its own
		tmux("new-session", "-d", "-x", "100", "-y", "5", "-s", "x", "printf '%s' '"+text+"'; printf x; exec sleep 100")
		for !strings.HasSuffix(strings.TrimSpace(tmux("capture-pane", "-p", "-t", "x")), "x") {
		}
		at := strings.TrimSpace(tmux("display-message", "-p", "-t", "x", "#{cursor_x}"))
		if want := tab.width(text) + 1; at != strconv.Itoa(want) {
			t.Errorf("%q: tmux has the cursor at %s, want %d", text, at, want)
		}
		tmux("kill-server")
	}
}
