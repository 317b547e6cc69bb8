package option

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestOptions(t *testing.T) {
	options := []Option{{Name: "detach", Letter: 'd'}, {Name: "as", Letter: 'a', Value: true}, {Name: "tty", Letter: 't'}}
	tests := []struct {
		args   string
		strict bool
		values map[string]string
		words  string
	}{
		{"", false, nil, ""},
		{"x -d y", false, map[string]string{"detach": ""}, "x y"},
		{"x -d y", true, nil, "x -d y"},
		{"-d x -t", true, map[string]string{"detach": ""}, "x -t"},
		{"--as n -- -d --as", false, map[string]string{"as": "n"}, "-d --as"},
		{"--as=n=m -", false, map[string]string{"as": "n=m"}, "-"},
		{"--as= x", false, map[string]string{"as": ""}, "x"},
		{"--as -d", false, map[string]string{"as": "-d"}, ""},
		{"-dta n", false, map[string]string{"detach": "", "tty": "", "as": "n"}, ""},
		{"-dan", false, map[string]string{"detach": "", "as": "n"}, ""},
		{"-a 1 -a 2", false, map[string]string{"as": "2"}, ""},
	}
	for _, test := range tests {
		g, err := CommandLine{options, test.strict}.Parse(strings.Fields(test.args))
		if err != nil || !maps.Equal(g.Values, test.values) || !slices.Equal(g.Words, strings.Fields(test.words)) {
			t.Errorf("%q (strict %t): %v %q, %v", test.args, test.strict, g.Values, g.Words, err)
		}
	}
	for _, bad := range []string{"--no", "-x", "-dx", "--as", "-a", "-da", "--detach=1", "---", "--as --", "-d=1"} {
		g, err := CommandLine{Options: options}.Parse(strings.Fields(bad))
		if (err == nil) != (bad == "--as --") {
			t.Errorf("%q: %v %q, %v", bad, g.Values, g.Words, err)
		}
	}
}
