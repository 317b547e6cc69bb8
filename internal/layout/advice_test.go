package layout

import (
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// faces speak to people by themselves, in the words of a command line, and why.
var faces = map[string]string{
	"cmd/keyway":             "the command line",
	"internal/session/words": "the commands inside a workspace",
	"internal/session/view":  "the process that owns a user's terminal",
	"internal/guest":         "what it prints is read in a shell of the workspace, or in its log",
	"internal/template":      "tells the author of a file what there is in the place of a field",
	"internal/jupyter/front": "its pages are read in a browser, beside that shell",
}

// processes are commands that people do not type: text may name a process by them.
var processes = []string{"agent", "link", "mux", "proxy"}

// spoken are texts that only look like advice, and why.
var spoken = map[string]string{
	"keyway approve":       "who has answered, as the log has it",
	"ended by keyway kill": "who has ended a session, as its record has it",
	"it is not what keyway templates publish writes: %w": "which program writes such a file",
}

// TestAdviceIsTheFaces finds texts that tell people what to type, in packages that do not
// know whether there is a command line. Those give a keyway.Step.
func TestAdviceIsTheFaces(t *testing.T) {
	advises := advice(t)
	used := map[string]bool{}
	programs(t, func(file string, data []byte) {
		dir := path.Dir(file)
		for _, text := range literals(t, file, data) {
			switch _, excused := spoken[text]; {
			case !advises.MatchString(text):
			case faces[dir] != "":
				used[dir] = true
			case excused:
				used[text] = true
			default:
				t.Errorf("%s: %.100q: give a keyway.Step, and its sentence in cmd/keyway/advice.go", file, text)
			}
		}
	})
	for _, excuse := range slices.Sorted(maps.Keys(faces)) {
		if !used[excuse] {
			t.Errorf("%s gives no advice any more: take it off the list", excuse)
		}
	}
	for _, excuse := range slices.Sorted(maps.Keys(spoken)) {
		if !used[excuse] {
			t.Errorf("nobody says %q any more: take it off the list", excuse)
		}
	}
}

// advice matches a command of keyway's, by the names that the commands have.
func advice(t *testing.T) *regexp.Regexp {
	t.Helper()
	use := regexp.MustCompile(`(?:\bUse:\s+|[a-z]Command\()"([a-z][a-z-]*)`)
	var names []string
	sources(t, ".go", func(file string, data []byte) {
		if path.Dir(filepath.ToSlash(file)) != "cmd/keyway" {
			return
		}
		for _, m := range use.FindAllSubmatch(data, -1) {
			if name := string(m[1]); !slices.Contains(processes, name) && name != "keyway" {
				names = append(names, name)
			}
		}
	})
	if len(names) < 30 {
		t.Fatalf("only %d commands found: has their form changed?", len(names))
	}
	return regexp.MustCompile(`\bkeyway (` + strings.Join(names, "|") + `)\b`)
}

func TestAdviceIsFound(t *testing.T) {
	advises := advice(t)
	for text, is := range map[string]bool{
		"paused; keyway start train goes on with it": true, "see: keyway ls": true, "keyway up %s": true,
		"the keyway at gpu1": false, "keyway carries no such program": false, "the process (keyway link) was killed": false,
	} {
		if advises.MatchString(text) != is {
			t.Errorf("%q is advice: %t", text, !is)
		}
	}
}
