//go:build unix

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
)

// placesTemplate is a command line about a template of a place.
type placesTemplate struct {
	line string
	code int    // the exit code; -1: any failure
	says string // a part of the output
}

// ofAPlace are command lines about templates that gpu1 publishes, in their order. This laptop knows a
// workspace of gpu1. The template base is built in, too, and the workspace there is made of the
// place's.
var ofAPlace = []placesTemplate{
	{"up team --on gpu1 --name other", -1, "template team (gpu1:/etc/keyway/templates/team.json)"},
	{"up team --on gpu1 --name other --pinned", keyway.ExitCode(keyway.Errorf(keyway.NotFound, "")), "keyway pin team --on gpu1"},
	{"check team --on gpu1", 0, "template team (gpu1:/etc/keyway/templates/team.json)"},
	{"bake team -t x:1 --on gpu1", -1, "template team (gpu1:/etc/keyway/templates/team.json)"},
	{"drift team", keyway.ExitCode(keyway.Errorf(keyway.NotFound, "")), "keyway pin team --on gpu1"},
	{"pin team", 0, "team pinned for amd64, as gpu1/crew"},
	{"pin team --on gpu1", 0, "team pinned for amd64, as gpu1/crew"},
	{"pin team --from gpu1/crew", 0, "team pinned for amd64, as gpu1/crew"},
	{"pin base", 0, "base pinned for amd64, as gpu1/here"},
	{"pin base --on gpu1", 0, "base pinned for amd64, as gpu1/here"},
	{"pin other --on gpu1", -1, `there is no template "other"`},
	{"pin teem", -1, "did you mean: keyway pin team"},
	{"drift tem", -1, "did you mean: keyway drift team"},
	{"drift team --ignore tag", keyway.ExitCode(keyway.Errorf(keyway.EngineDown, "")), "keyway.lock: the template, gpu1/crew"},
	{"drift team --on gpu1 --ignore tag", keyway.ExitCode(keyway.Errorf(keyway.EngineDown, "")), "keyway.lock: the template, gpu1/crew"},
	{"drift base --ignore tag", keyway.ExitCode(keyway.Errorf(keyway.EngineDown, "")), "keyway.lock: the template, gpu1/here"},
	{"drift other --on gpu1", -1, `there is no template "other"`},
	{"templates --on gpu1", 0, "team"},
	{"__complete up --on gpu1 te", 0, "team\tthe place"},
	{"__complete check --on gpu1 te", 0, "team\tthe place"},
	{"__complete bake --on gpu1 te", 0, "team\tthe place"},
	{"__complete pin te", 0, "team\tthe place"},
	{"__complete pin --on gpu1 te", 0, "team\tthe place"},
	{"__complete drift te", 0, "team\tthe place"},
	{"__complete drift --on gpu1 te", 0, "team\tthe place"},
}

// TestTemplatesOfAPlaceAreFound checks that each command that takes a template and a place finds
// the templates that the place publishes, and completes their names.
func TestTemplatesOfAPlaceAreFound(t *testing.T) {
	halfSeenPlace(t)
	t.Chdir(t.TempDir())
	for _, c := range ofAPlace {
		said, code := onTTY(t, nil, strings.Fields(c.line)...)
		if code != c.code && (c.code >= 0 || code <= 0) || !strings.Contains(said, c.says) {
			t.Errorf("keyway %s exits with %d, and not with %d, or does not say %q:\n%s", c.line, code, c.code, c.says, said)
		}
	}
	commands(newRootCommand(), func(c *cobra.Command) {
		if !strings.Contains(c.Use, "TEMPLATE") || c.Flags().Lookup("on") == nil {
			return
		}
		for _, before := range []string{"", "__complete "} {
			words := before + strings.TrimPrefix(c.CommandPath(), "keyway ") + " "
			if !slices.ContainsFunc(ofAPlace, func(c placesTemplate) bool { return strings.HasPrefix(c.line, words) }) {
				t.Errorf("keyway %s is in no line", words)
			}
		}
	})
}
