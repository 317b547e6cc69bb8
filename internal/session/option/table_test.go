package option

import (
	"strings"
	"testing"
)

// TestTablesAndTheirHelpAgree checks that the help of a table has each of its options, with its
// letter and the name of its value, and no others.
func TestTablesAndTheirHelpAgree(t *testing.T) {
	for name, table := range map[string]Table{"run": Run(), "attach": Attach(), "logs": Logs(), "send": Send()} {
		for _, o := range table.Options {
			value, does := table.Described(o.Name)
			head := "      --" + o.Name
			if o.Letter != 0 {
				head = "  -" + string(rune(o.Letter)) + ", --" + o.Name
			}
			if does == "" || (value != "") != o.Value || !strings.Contains(does, value) || !strings.Contains("\n"+table.Help, "\n"+head+" ") {
				t.Errorf("%s --%s: value %q, %q", name, o.Name, value, does)
			}
		}
		if n := strings.Count(table.Help, " --"); n != len(table.Options) {
			t.Errorf("the help of %s has %d options, not %d", name, n, len(table.Options))
		}
		for line := range strings.Lines(table.Help) {
			if len(line) > 87 { // with its end
				t.Errorf("%s: %q has more than 86 columns", name, line)
			}
		}
	}
	if value, does := Run().Described("none"); value+does != "" {
		t.Errorf("none: %q, %q", value, does)
	}
}
