//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestPlace(t *testing.T) {
	order := []string{"first", "second", "third"}
	file := place("", order, "third", "3")
	file = place(file, order, "first", "1")
	file = place(file, order, "second", "2")
	file = strings.Replace(file, "# Benchmarks\n", "# Benchmarks\n\nBy hand.\n", 1)
	file = place(file, order, "second", "two")
	want := `# Benchmarks

By hand.

<!-- make bench: first -->

1
<!-- end of first -->

<!-- make bench: second -->

two
<!-- end of second -->

<!-- make bench: third -->

3
<!-- end of third -->
`
	if file != want {
		t.Errorf("the file is\n%s\nwant\n%s", file, want)
	}
}

func TestChoose(t *testing.T) {
	all := []section{{name: "a"}, {name: "b"}, {name: "c"}}
	for only, want := range map[string]string{"": "a b c", "b": "b", "c,a": "c a"} {
		chosen, err := choose(all, only)
		if got := strings.Join(names(chosen), " "); err != nil || got != want {
			t.Errorf("-only %q chooses %q (%v), want %q", only, got, err, want)
		}
	}
	if _, err := choose(all, "a,d"); err == nil {
		t.Error("a section that is none was accepted")
	}
}
