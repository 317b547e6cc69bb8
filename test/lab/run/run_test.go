package run

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestHowCommandsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		script, stdin string
		want          Result
	}{
		"well":        {"cat; echo news >&2", "text", Result{Stdout: "text", Stderr: "news\n"}},
		"with a code": {"exit 7", "", Result{Code: 7}},
		"by a signal": {"kill -USR1 $$", "", Result{Code: 128 + 10}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.Command = name
			begun := false
			got := Command(exec.Command("sh", "-c", c.script), name, c.stdin, time.Minute, func() { begun = true })
			if got != c.want || !begun {
				t.Errorf("begun %t; %s", begun, got)
			}
		})
	}
}

func TestACommandThatTakesTooLong(t *testing.T) {
	got := Command(exec.Command("tail", "-f", "/dev/null"), "it", "", 50*time.Millisecond)
	if got.Code != 128+9 || !strings.Contains(got.Stderr, "took too long") {
		t.Errorf("%s", got)
	}
}

func TestACommandThatDoesNotStart(t *testing.T) {
	if got := Command(exec.Command("/nowhere"), "it", "", time.Minute); got.Code != -1 || got.Stderr == "" {
		t.Errorf("%s", got)
	}
}

func TestClip(t *testing.T) {
	long := strings.Repeat("a", 3000) + strings.Repeat("b", 3000)
	if got := Clip(long); len(got) > 4010 || !strings.HasPrefix(got, "aaa") || !strings.HasSuffix(got, "bbb") || Clip("short") != "short" {
		t.Errorf("%d bytes: %.20s", len(got), got)
	}
}
