package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/agent"
	"keyway/internal/audit"
	"keyway/internal/catalogue"
	"keyway/internal/compat"
	"keyway/internal/images"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/pin"
)

// printed has the type that each command prints with --json, in the order of the page.
var printed = []struct {
	command string
	form    any
	about   string
}{
	{"up", keyway.Workspace{}, "the workspace"},
	{"adopt", keyway.Workspace{}, "with CONTAINER: the workspace"},
	{"adopt", []keyway.Container{}, "without CONTAINER: the containers that run at the place"},
	{"ls", []laptop.Row{}, "a row for each workspace; with NAME, its jobs, as the workspace's own `keyway ls --json` prints them, and the kernels of the job that serves them"},
	{"status", statusReport{}, "the link, and the route to each place"},
	{"gpus", []laptop.GPUListing{}, "an element for each place"},
	{"ports", []portRow{}, "an element for each port"},
	{"open", opened{}, "what would be shown in the browser"},
	{"templates", []templateRow{}, "an element for each template"},
	{"templates publish", []catalogue.Template{}, "with --to: the templates that were published"},
	{"check", []compat.Finding{}, "what keeps the workspace from running, or may"},
	{"pin", pin.Pin{}, "what was written to keyway.lock"},
	{"drift", drift{}, "how the workspaces differ from keyway.lock"},
	{"image copy", images.Copied{}, "what was copied"},
	{"bake", images.Baked{}, "what was made"},
	{"keys", []agent.KeyInfo{}, "an element for each key"},
	{"log", audit.Event{}, "a line for each event"},
	{"doctor", doctorReport{}, "the checks"},
}

// jsonFields calls add for each field of a form, with its path and its type.
func jsonFields(t reflect.Type, path string, seen []reflect.Type, add func(path, kind string)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	text := reflect.TypeFor[interface{ MarshalText() ([]byte, error) }]()
	own := reflect.TypeFor[json.Marshaler]()
	switch {
	case t == reflect.TypeFor[time.Time]():
		add(path, "time (RFC 3339)")
	case t == reflect.TypeFor[time.Duration]():
		add(path, "number (nanoseconds)")
	case t.Implements(text) || reflect.PointerTo(t).Implements(text):
		add(path, "string")
	case t.Implements(own) || reflect.PointerTo(t).Implements(own):
		add(path, "any")
	case t.Kind() == reflect.Struct:
		if slices.Contains(seen, t) {
			add(path, "object, as above")
			return
		}
		if path != "" {
			add(path, "object")
		}
		for i := range t.NumField() {
			f := t.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-" || !f.IsExported() && !f.Anonymous:
			case f.Anonymous && name == "":
				jsonFields(f.Type, path, append(seen, t), func(p, kind string) {
					if p != path {
						add(p, kind)
					}
				})
			default:
				if name == "" {
					name = f.Name
				}
				at := strings.TrimPrefix(path+"."+name, ".")
				jsonFields(f.Type, at, append(seen, t), func(p, kind string) {
					if p == at && strings.Contains(options, "omit") {
						kind += ", may be missing"
					}
					add(p, kind)
				})
			}
		}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		add(path, "string (base64)")
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		if path != "" {
			add(path, "list")
		}
		jsonFields(t.Elem(), path+"[]", seen, add)
	case t.Kind() == reflect.Map:
		add(path, "object of names")
		jsonFields(t.Elem(), path+".NAME", seen, add)
	case t.Kind() == reflect.String:
		add(path, "string")
	case t.Kind() == reflect.Bool:
		add(path, "true or false")
	case t.Kind() == reflect.Interface:
		add(path, "any")
	default:
		add(path, "number")
	}
}

// jsonPage returns docs/JSON.md.
func jsonPage() string {
	var b strings.Builder
	b.WriteString(`# What commands print with --json

A command with ` + "`--json`" + ` prints one line on standard output: an object, or a list, which is ` + "`[]`" + ` where it has no element, and
never ` + "`null`" + `. An error is the last line of standard error ([exit codes](EXIT-CODES.md)), whatever was printed before. Fields may be
added from version to version; none changes its type. ` + "`a.b`" + ` is the field b of the object a, and ` + "`a[].b`" + ` that of each element of the
list a. This page is made from the types that are printed, by ` + "`KEYWAY_WRITE_DOCS=1 go test -run TestJSONIsDocumented ./cmd/keyway`" + `.
`)
	for _, p := range printed {
		fmt.Fprintf(&b, "\n## keyway %s\n\n%s.\n\n| field | is |\n|---|---|\n", p.command, strings.ToUpper(p.about[:1])+p.about[1:])
		jsonFields(reflect.TypeOf(p.form), "", nil, func(path, kind string) {
			fmt.Fprintf(&b, "| `%s` | %s |\n", path, kind)
		})
	}
	return b.String()
}

// TestJSONIsDocumented checks that docs/JSON.md has what each command prints with --json, and that
// every command with the option is there.
func TestJSONIsDocumented(t *testing.T) {
	const file = "../../docs/JSON.md"
	page := jsonPage()
	if os.Getenv("KEYWAY_WRITE_DOCS") != "" {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if is, err := os.ReadFile(file); err != nil || string(is) != page {
		t.Errorf("%s is not what the types say, %v: write it again with KEYWAY_WRITE_DOCS=1", file, err)
	}
	commands(newRootCommand(), func(c *cobra.Command) {
		path := strings.TrimPrefix(c.CommandPath(), "keyway ")
		documented := slices.ContainsFunc(printed, func(p struct {
			command string
			form    any
			about   string
		}) bool {
			return p.command == path
		})
		if has := c.Flags().Lookup("json") != nil; has != documented {
			t.Errorf("%s: has --json: %v, is documented: %v", path, has, documented)
		}
	})
}

// TestNoListIsNull checks that a list without elements is a list, at any depth.
func TestNoListIsNull(t *testing.T) {
	for _, p := range printed {
		none := reflect.Zero(reflect.SliceOf(reflect.TypeOf(p.form))) // nil
		one := reflect.Append(none, reflect.Zero(reflect.TypeOf(p.form)))
		for _, v := range []any{p.form, none.Interface(), one.Interface()} {
			var out strings.Builder
			if err := printJSON(&out, v); err != nil || strings.Contains(out.String(), "null") {
				t.Errorf("%s prints %s, %v", p.command, out.String(), err)
			}
		}
	}
	var out strings.Builder
	failed := keyway.Errorf(keyway.Unreachable, "gone")
	const want = `[{"place":"gpu2","gpus":[],"error":{"kind":"unreachable","message":"gone"}}]`
	if err := printJSON(&out, []laptop.GPUListing{{Place: "gpu2", Error: failed}}); err != nil || strings.TrimSpace(out.String()) != want {
		t.Errorf("%s, %v, want %s", out.String(), err, want)
	}
}
