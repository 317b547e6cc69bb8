package api

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

func TestCommonVersion(t *testing.T) {
	for _, c := range []struct {
		a, b Versions
		want int
	}{
		{Versions{1, 1}, Versions{1, 1}, 1},
		{Versions{1, 3}, Versions{1, 2}, 2},
		{Versions{1, 3}, Versions{2, 9}, 3},
		{Versions{2, 2}, Versions{1, 4}, 2},
		{Versions{1, 1}, Versions{2, 3}, 0},
		{Versions{4, 5}, Versions{1, 3}, 0},
		{Versions{}, Versions{}, 0},
		{Versions{}, Versions{1, 1}, 0},
	} {
		if x, y := c.a.Common(c.b), c.b.Common(c.a); x != c.want || y != c.want {
			t.Errorf("%v and %v: %d and %d, want %d", c.a, c.b, x, y, c.want)
		}
	}
}

func TestGreetings(t *testing.T) {
	for text, want := range map[string]Versions{
		"1 devel":              {1, 1}, // recorded: a node of version 1 from before there were ranges
		"1 v1.2.0":             {1, 1},
		"1":                    {1, 1},
		"1 devel and more":     {1, 1},
		"2 devel <=5":          {2, 5},
		"2 devel <=5 and more": {2, 5},
		"":                     {}, "0 devel": {}, "-1 devel": {}, "+1 devel": {}, "01 devel": {}, "one devel": {}, "1.5 devel": {},
		"1 devel <=0": {}, "2 devel <=1": {}, "1 devel <=two": {}, "1 devel <=": {}, "1048577 devel": {}, "99999999999999999999 devel": {},
	} {
		got, _, err := ParseGreeting(text)
		if got != want || (err == nil) != (want != Versions{}) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, v := range []Versions{{1, 1}, {1, 3}, {2, 2}} {
		for program, want := range map[string]string{"devel": "devel", "v1 with spaces\n": "v1_with_spaces"} {
			rest, is := strings.CutPrefix(greeting(v, program), GreetingWord+" ")
			got, said, err := ParseGreeting(strings.TrimSuffix(rest, "\n"))
			if !is || got != v || said != want || err != nil {
				t.Errorf("%v of %q came back as %v of %q, %v", v, program, got, said, err)
			}
		}
	}
}

// TestOldLinksReadGreetings checks greetings with the rule of links of version 1: the first word
// must be their version.
func TestOldLinksReadGreetings(t *testing.T) {
	for v, talk := range map[Versions]bool{{1, 1}: true, {1, 7}: true, {2, 7}: false} {
		rest, _ := strings.CutPrefix(greeting(v, "devel"), "keyway-node ")
		if version, _, _ := strings.Cut(rest, " "); (version == "1") != talk {
			t.Errorf("a link of version 1 reads %q of %v", version, v)
		}
	}
}

func FuzzGreeting(f *testing.F) {
	f.Add("1 devel")
	f.Add("1 devel <=3")
	f.Fuzz(func(t *testing.T, text string) {
		v, program, err := ParseGreeting(text)
		if err != nil {
			return
		}
		if v.Lowest < 1 || v.Highest < v.Lowest || v.Highest > maxVersion {
			t.Errorf("%q: %v", text, v)
		}
		if again, _, err := ParseGreeting(strings.TrimSuffix(strings.TrimPrefix(greeting(v, "x"+program), GreetingWord+" "), "\n")); err != nil || again != v {
			t.Errorf("%q: %v came back as %v, %v", text, v, again, err)
		}
	})
}

// TestVersionsOfRequests checks that a node refuses requests of versions that it does not speak.
func TestVersionsOfRequests(t *testing.T) {
	served := false
	h := versioned(Versions{2, 4}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served = true
		WriteJSON(w, struct{}{})
	}))
	c := serveAny(t, h)
	for version, ok := range map[int]bool{0: false, 1: false, 2: true, 3: true, 4: true, 5: false} {
		served = false
		err := c.Speaking(version).Ping(context.Background())
		if ok && (err != nil || !served) || !ok && (!keyway.Is(err, keyway.VersionMismatch) || served) {
			t.Errorf("version %d: served: %t, %v", version, served, err)
		}
	}
}
