package layout

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	// recentCommits is the number of commits that are checked.
	recentCommits = "-20"
	// maxSubject is the part of a subject, in characters, that git log and mail programs show.
	maxSubject = 72
)

// subject matches a commit's subject: the packages or files that change, a colon, and what the
// commit does.
var subject = regexp.MustCompile(`^[A-Za-z0-9_./-]+( [a-z-]+)?(, [A-Za-z0-9_./-]+( [a-z-]+)?)*: [a-z].*[^.]$`)

func TestCommitSubjects(t *testing.T) {
	cmd := exec.Command("git", "log", recentCommits, "--no-merges", "--format=%s")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Logf("this is no clone with a history: %v", err)
		return
	}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > maxSubject {
			t.Errorf("%q has %d characters, more than %d", line, n, maxSubject)
		}
		if !subject.MatchString(line) {
			t.Errorf("%q is not of the form \"package: verb …\"", line)
		}
	}
}
