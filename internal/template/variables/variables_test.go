package variables

import (
	"errors"
	"strings"
	"testing"
)

func lookup(name string) (string, bool) {
	v, ok := map[string]string{"A": "a", "EMPTY": "", "DOLLAR": "$A"}[name]
	return v, ok
}

// TestFill checks each form of a variable's use, with a variable that is set, empty and unset.
func TestFill(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"$":                            "$",
		"a$$b":                         "a$b",
		"$A-$A${A}":                    "a-aa",
		"${A:-x}${EMPTY:-x}${NONE:-x}": "axx",
		"${A-x}${EMPTY-x}${NONE-x}":    "ax",
		"${A:+x}${EMPTY:+x}${NONE:+x}": "x",
		"${A+x}${EMPTY+x}${NONE+x}":    "xx",
		"${A:?x}${A?x}${EMPTY?x}":      "aa",
		"${NONE:-${NONE:-${A}}}":       "a",
		"${NONE:-{\"k\":\"$A\"}}":      "{\"k\":\"a\"}",
		"${NONE:-$$}${DOLLAR}":         "$$A",
		"${NONE:-}":                    "",
	} {
		if got, err := new(Filler).Fill(text, lookup); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

// TestUnset checks that an unset variable is an error wherever its value matters.
func TestUnset(t *testing.T) {
	for text, want := range map[string]UnsetError{
		"$NONE":             {Name: "NONE"},
		"${NONE}":           {Name: "NONE"},
		"${A:-x}/${NONE}/y": {Name: "NONE"},
		"${EMPTY:-${NONE}}": {Name: "NONE"},
		"${A:+$NONE}":       {Name: "NONE"},
		"${NONE:?say it}":   {Name: "NONE", Why: "say it"},
		"${EMPTY:?say $A}":  {Name: "EMPTY", Why: "say a", Empty: true},
		"${NONE?}":          {Name: "NONE"},
	} {
		_, err := new(Filler).Fill(text, lookup)
		if got := (UnsetError{}); !errors.As(err, &got) || got != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"${", "${A", "${}", "${1}", "$1", "$-", "${A:}", "${A!x}", "${A:-${B}", "${ A}"} {
		if got, err := new(Filler).Fill(text, lookup); err == nil || !strings.Contains(err.Error(), "$$") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// TestDepth checks that the time for nested variables does not grow with the square of the text.
func TestDepth(t *testing.T) {
	for levels, fits := range map[int]bool{maxDepth: true, maxDepth + 1: false, 1 << 18: false} {
		for _, operator := range []string{":-", "+", "?"} {
			name := map[string]string{":-": "NONE", "+": "A", "?": "NONE"}[operator]
			text := strings.Repeat("${"+name+operator, levels) + "x" + strings.Repeat("}", levels)
			_, err := new(Filler).Fill(text, lookup)
			if tooDeep := err != nil && strings.Contains(err.Error(), "more than 32 variables"); tooDeep == fits {
				t.Errorf("%d levels of %s: %.200v", levels, operator, err)
			}
		}
	}
}

// TestTooMuch checks that no text expands beyond the bound, in any form.
func TestTooMuch(t *testing.T) {
	long := func(string) (string, bool) { return strings.Repeat("x", maxMade/2), true }
	for text, fits := range map[string]bool{
		"$A$A":             true,
		"$A${A}x":          false,
		"$A$A$NONE":        false,
		"${A+$A}$A":        false,
		"${A+$A}":          true,
		"${A+${A+${A}$A}}": false,
	} {
		got, err := new(Filler).Fill(text, long)
		if (err == nil) != fits || err != nil && !errors.Is(err, ErrTooMuch) || len(got) > maxMade {
			t.Errorf("%q: %d bytes, %v", text, len(got), err)
		}
	}
	set, unset, err := Parse("A=x\n"+strings.Repeat("A=$A$A\n", 26)+"B=1\nC=${NONE:?$A}\n", func(string) (string, bool) { return "", false }, nil)
	if err != nil || len(set) > 0 || !errors.Is(unset["A"], ErrTooMuch) || !errors.Is(unset["B"], ErrTooMuch) || len(unset["C"].Error()) > maxMade {
		t.Errorf("%d values, %.300v, %v", len(set), unset, err)
	}
}

func FuzzFill(f *testing.F) {
	f.Add("a${A:-${B}}$$c")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := new(Filler).Fill(text, func(string) (string, bool) { return "v", true })
		if err == nil && !strings.Contains(text, "$") && got != text {
			t.Errorf("%q became %q", text, got)
		}
	})
}
