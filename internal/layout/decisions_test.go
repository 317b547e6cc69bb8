package layout

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestDecisionsAreRecords checks that the records of DECISIONS.md are numbered without a gap,
// newest first, and that each has a date and an alternative.
func TestDecisionsAreRecords(t *testing.T) {
	records := strings.Split(document(t, "docs/DECISIONS.md"), "\n## ")[1:]
	date := regexp.MustCompile(`\n\n\*(\d{4}-\d\d-\d\d)\.\* `)
	newer := "9999"
	for i, r := range records {
		title, _, _ := strings.Cut(r, "\n")
		if !strings.HasPrefix(title, fmt.Sprintf("%d. ", len(records)-i)) {
			t.Errorf("DECISIONS.md has %q as number %d", title, len(records)-i)
		}
		made := date.FindStringSubmatch(r)
		switch {
		case made == nil || made[1] > newer:
			t.Errorf("the date of %q is missing or out of order", title)
		default:
			newer = made[1]
		}
		if !strings.Contains(r, "*Alternative:*") && !strings.Contains(r, "*Alternatives:*") {
			t.Errorf("%q has no alternative", title)
		}
	}
	if len(records) < 33 {
		t.Errorf("DECISIONS.md has only %d records", len(records))
	}
}
