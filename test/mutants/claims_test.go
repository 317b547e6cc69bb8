package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// named is a test as the documents name it (internal/layout has the rule).
var named = regexp.MustCompile("`((?:cmd|internal|test)/[a-z0-9/]+)\\.((?:Test|Fuzz)\\w+)`")

// agents have mutants of their own, in internal/agent's TestMutants.
var agents = []string{"internal/agent", "internal/policy", "internal/audit", "test/agent"}

// TestEveryClaimIsBroken demands of each claim in the documents, a row of a table or a
// paragraph, that a mutant breaks it for one of the tests that it names.
func TestEveryClaimIsBroken(t *testing.T) {
	broken := map[string]bool{}
	for _, area := range areas {
		for _, m := range area.mutants {
			top, _, _ := strings.Cut(m.run, "/")
			for name := range strings.SplitSeq(strings.Trim(top, "^$()"), "|") {
				broken[m.pkg+"."+strings.Trim(name, "^$")] = true
			}
		}
	}
	for _, doc := range []string{"docs/THREATS.md", "docs/PRIVILEGES.md"} {
		text, err := os.ReadFile("../../" + doc)
		if err != nil {
			t.Fatal(err)
		}
		claims := 0
		for block := range strings.SplitSeq(string(text), "\n\n") {
			parts := []string{block}
			if strings.HasPrefix(block, "|") {
				parts = strings.Split(block, "\n")
			}
			for _, claim := range parts {
				tests := named.FindAllStringSubmatch(claim, -1)
				if tests == nil {
					continue
				}
				claims++
				if !slices.ContainsFunc(tests, func(m []string) bool { return broken[m[1]+"."+m[2]] || slices.Contains(agents, m[1]) }) {
					t.Errorf("%s: no mutant breaks %.120q", doc, claim)
				}
			}
		}
		if claims < 20 {
			t.Errorf("%s: %d claims: has its form changed?", doc, claims)
		}
	}
}
