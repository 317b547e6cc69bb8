package layout

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// claimed are the documents that make claims about security.
var claimed = []string{"docs/THREATS.md", "docs/PRIVILEGES.md"}

// noClaims are the sections that promise nothing.
var noClaims = []string{"What is not defended"}

// untested are the claims that no test can hold, by a text that each contains.
// There are none; a new one needs a reason here.
var untested = []string{}

const (
	heldBy    = "held by" // the heading of a table's last column
	testsLine = "Tests: " // what the names of tests begin with in a paragraph
)

var (
	// A test is named by its package's path in the module, and by its function.
	testName = regexp.MustCompile("`((?:cmd|internal|test)/[a-z0-9/]+)\\.((?:Test|Fuzz)\\w+)`")
	bareTest = regexp.MustCompile("`(?:Test|Fuzz)\\w+`")
	// written matches the parts of a document that a test writes, and holds.
	written = regexp.MustCompile(`(?s)<!-- (\w+): begin -->.*?<!-- \w+: end -->`)
)

// TestClaimsNameTheirTests checks that each claim of the documents names an existing test.
func TestClaimsNameTheirTests(t *testing.T) {
	var excused []string
	tests := testFunctions(t)
	for _, doc := range claimed {
		text := document(t, doc)
		claims := claimsOf(text)
		if len(claims) < 20 {
			t.Errorf("%s makes only %d claims: has its form changed?", doc, len(claims))
		}
		for _, c := range claims {
			if c.excuse != "" {
				excused = append(excused, c.excuse)
			} else if c.wrong != "" {
				t.Errorf("%s: %s: %.80q", doc, c.wrong, c.text)
			}
		}
		for _, wrong := range misnamed(text, tests) {
			t.Errorf("%s: %s", doc, wrong)
		}
	}
	if !slices.Equal(excused, untested) {
		t.Errorf("claims that no test can hold: %q; found %q", untested, excused)
	}
}

// claim is a row of a table or a paragraph.
type claim struct {
	text   string
	wrong  string // why it names no test; empty if it does
	excuse string // its text in untested
}

// claimsOf returns the claims of a document: each row of its tables, and each
// paragraph below its first heading of the second level.
func claimsOf(doc string) (claims []claim) {
	section := ""
	for block := range strings.SplitSeq(written.ReplaceAllString(doc, ""), "\n\n") {
		block = strings.TrimSpace(block)
		if title, ok := strings.CutPrefix(block, "## "); ok {
			section = title
			continue
		}
		switch {
		case block == "", strings.HasPrefix(block, "#"), slices.Contains(noClaims, section):
		case strings.HasPrefix(block, "|"):
			claims = append(claims, rows(block)...)
		case section != "" && !strings.HasSuffix(block, ":"): // otherwise the list that it introduces is the claim
			claims = append(claims, judgeClaim(block, lastLine(block)))
		}
	}
	return claims
}

// rows returns the claims of a table.
func rows(table string) (claims []claim) {
	lines := strings.Split(table, "\n")
	headed := lastCell(lines[0]) == heldBy
	for _, line := range lines[min(2, len(lines)):] {
		c := judgeClaim(line, lastCell(line))
		if !headed {
			c = claim{text: line, wrong: fmt.Sprintf("the table's last column is not %q", heldBy)}
		}
		claims = append(claims, c)
	}
	return claims
}

// judgeClaim judges a claim by the part of it that has to name tests.
func judgeClaim(text, names string) claim {
	for _, u := range untested {
		if strings.Contains(text, u) {
			return claim{text: text, excuse: u}
		}
	}
	if !testName.MatchString(names) {
		return claim{text: text, wrong: "names no test"}
	}
	return claim{text: text}
}

func lastCell(row string) string {
	cells := strings.Split(strings.TrimSuffix(strings.TrimSpace(row), "|"), "|")
	return strings.TrimSpace(cells[len(cells)-1])
}

// lastLine returns the text after testsLine, to the paragraph's end.
func lastLine(paragraph string) string {
	_, names, _ := strings.Cut(paragraph, testsLine)
	return names
}

// misnamed returns complaints about the names of tests in a document.
func misnamed(doc string, tests map[string][]string) (wrong []string) {
	for _, bare := range bareTest.FindAllString(doc, -1) {
		wrong = append(wrong, bare+" names no package")
	}
	for _, m := range testName.FindAllStringSubmatch(doc, -1) {
		if !slices.Contains(tests[m[1]], m[2]) {
			wrong = append(wrong, m[1]+" has no test "+m[2])
		}
	}
	return wrong
}

// TestClaimsWithoutTests checks that the reader of claims refuses claims without tests.
func TestClaimsWithoutTests(t *testing.T) {
	const named = "`internal/layout.TestClaimsWithoutTests`"
	table := func(head, cell string) string { return "| who | " + head + " |\n|---|---|\n| a thief | " + cell + " |" }
	for _, c := range []struct {
		name, doc string
		wrong     int
	}{
		{"row", table(heldBy, named), 0},
		{"row that names none", table(heldBy, "–"), 1},
		{"row that names one elsewhere", "| who | gets | held by |\n|---|---|---|\n| a thief | " + named + " | |", 1},
		{"table without the column", table("because", named), 1},
		{"table of a test's", "<!-- a: begin -->\n" + table("because", "x") + "\n<!-- a: end -->", 0},
		{"paragraph", "## A\n\nIt holds. Tests: " + named + ".", 0},
		{"paragraph that names none", "## A\n\nIt holds.", 1},
		{"paragraph that mentions one", "## A\n\n" + named + " is a test. It holds.", 1},
		{"heading of the third level", "## A\n\n### B\n\nIt holds.", 1},
		{"list", "## A\n\nOnly when:\n\n- it holds, and\n- is held. Tests: " + named + ".", 0},
		{"list that names none", "## A\n\nOnly when:\n\n- it holds.", 1},
		{"introduction", "What there is.", 0},
		{"section without claims", "## " + noClaims[0] + "\n\nRoot.", 0},
		{"two paragraphs of one section", "## A\n\nIt holds. Tests: " + named + ".\n\nIt does.", 1},
	} {
		n := 0
		for _, c := range claimsOf(c.doc) {
			if c.wrong != "" {
				n++
			}
		}
		if n != c.wrong {
			t.Errorf("%s: %d claims without a test, not %d", c.name, n, c.wrong)
		}
	}
	tests := map[string][]string{"internal/layout": {"TestClaimsWithoutTests"}}
	for doc, wrong := range map[string]int{
		named: 0, "`TestClaimsWithoutTests`": 1, "`internal/layout.TestClaims`": 1, "`internal/nowhere.TestClaimsWithoutTests`": 1,
	} {
		if got := misnamed(doc, tests); len(got) != wrong {
			t.Errorf("%s: %q", doc, got)
		}
	}
}
