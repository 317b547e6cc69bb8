package compose

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	compose "github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"

	"keyway/internal/keyway"
	"keyway/internal/template/document"
	"keyway/internal/template/fields"
	"keyway/internal/template/variables"
)

// loadAsCompose is load by compose-go's own loader, with its schema, of the fields that keyway
// honours.
func (d source) loadAsCompose(name string, names []string, lookup func(string) (string, bool)) (_ loaded, err error) {
	return d.composed(d.services(names), name, lookup)
}

// loadAll is loadAsCompose with all fields.
func (d source) loadAll(name string, names []string, lookup func(string) (string, bool)) (_ loaded, err error) {
	all := map[string]any{}
	for _, each := range names {
		all[each] = document.Plain(document.Field(document.Field(d.Root, "services"), each))
	}
	return d.composed(all, name, lookup)
}

func (d source) composed(services map[string]any, name string, lookup func(string) (string, bool)) (_ loaded, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it panics: %v", r)
		}
	}()
	config := map[string]any{"name": "keyway", "services": services}
	for _, top := range []string{"volumes", "secrets"} {
		if n := document.Field(d.Root, top); n != nil {
			config[top] = document.Plain(n)
		}
	}
	details := types.ConfigDetails{WorkingDir: "/", ConfigFiles: []types.ConfigFile{{Filename: d.File, Config: config}}}
	project, err := loader.LoadWithContext(context.Background(), details, func(o *loader.Options) {
		o.SkipInclude, o.SkipResolveEnvironment, o.SkipResolveLabels, o.SkipNormalization, o.SkipConsistencyCheck = true, true, true, true, true
		o.ResolvePaths = false
		o.SetProjectName("keyway", true)
		o.Interpolate.Substitute = func(text string, lookup compose.Mapping) (string, error) {
			return new(variables.Filler).Fill(text, lookup)
		}
		o.Interpolate.LookupValue = lookup
	})
	if err != nil {
		return loaded{}, err
	}
	return loaded{ServiceConfig: project.Services[name], volumes: project.Volumes, secrets: project.Secrets}, nil
}

// forms are values of each shape that YAML has, and some that fields take.
var forms = []string{
	"", "text", "'5'", "5", "-1", "1.5", "true", "'true'", "2024-01-01", "all", "1g", "a:b", "/a:/b:ro", "[]", "[text]", "[5]", "[1.5]", "[true]", "[null]", "[[a]]", "[{a: b}]", "[a=b, c]",
	"[/a:/b]", "{}", "{a: b}", "{a: 5}", "{a: null}", "{a: true}", "{a: [b]}", "{a: {b: c}}", "{nofile: 5}", "{nofile: {soft: 1, hard: 2}}", "${N}", "[\"${N}\"]", "{a: \"${N}\"}",
}

// fieldPaths are all fields of a service that keyway takes, with those around them.
func fieldPaths(r *fields.Rule, around func(string) string, visit func(string)) {
	for _, name := range slices.Sorted(maps.Keys(r.Fields)) {
		inner := r.Fields[name]
		if inner.Not.Why != "" || name == "x-keyway" || name == "extends" {
			continue
		}
		for _, form := range forms {
			visit(around(name + ": " + form))
		}
		if inner.Fields != nil {
			fieldPaths(inner, func(text string) string { return around(name + ": {" + text + "}") }, visit)
			fieldPaths(inner, func(text string) string { return around(name + ": [{" + text + "}]") }, visit)
		}
	}
}

// stricter lists files of which compose-go accepts all and drops a part.
var stricter = []string{"services: {train: {gpus: [{a: b}]}}\n", "services: {train: {pids_limit: 1.5}}\n",
	"services: {train: {mem_limit: 1.5}}\n", "services: {train: {shm_size: 1.5}}\n"}

// TestAsCompose checks every field with a value of every shape: compose-go's schema and this
// package refuse the same values, and the accepted ones have the same meaning.
func TestAsCompose(t *testing.T) {
	lookup := func(name string) (string, bool) { return "2", name == "N" }
	dir := t.TempDir()
	tried, taken := 0, 0
	compare := func(text string) {
		tried++
		parsed, err := document.Parse("keyway.yaml", []byte(text))
		if err != nil {
			return
		}
		d := source{parsed}
		names := []string{"train"}
		env := environment{dir: dir, home: "/home/ada", lookup: lookup, confined: true}
		resolve := func(load func(string, []string, func(string) (string, bool)) (loaded, error)) (Asked, error) {
			service, err := load("train", names, lookup)
			if err != nil {
				return Asked{}, err
			}
			return d.asked(names, service, env, Where{Local: true})
		}
		want, refused := resolve(d.loadAsCompose)
		got, err := Asked{}, d.check(names, lookup)
		if err == nil {
			got, err = resolve(d.load)
		}
		if err != nil && slices.Contains(stricter, text) {
			return
		}
		if (err == nil) != (refused == nil) {
			t.Errorf("%s\n  we: %v\n  compose-go: %v", text, err, refused)
			return
		}
		if err == nil {
			taken++
		}
		got.Variables, want.Variables = nil, nil
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n  we: %+v\n  compose-go: %+v", text, got, want)
		}
	}
	fieldPaths(fields.Service, func(inner string) string { return "services: {train: {" + inner + "}}\n" }, compare)
	t.Logf("%d files, %d taken", tried, taken)
	if tried < 1000 || taken < 140 {
		t.Error("the generator has lost fields")
	}
}

// TestALongValueInRefusedFields checks that the time to check a file is bounded, however many fields
// have a long value that might change nothing.
func TestALongValueInRefusedFields(t *testing.T) {
	var used, volumes strings.Builder
	for i := range 500 {
		fmt.Fprintf(&used, "\n      - v%d:/v%[1]d", i)
		fmt.Fprintf(&volumes, "  v%d: {driver: *a}\n", i)
	}
	text := "x-a: &a '" + strings.Repeat("$A", 30_000) + "'\n" + "services:\n  train:\n    image: i\n    volumes:" + used.String() + "\n" + "volumes:\n" + volumes.String()
	d, err := document.Parse("keyway.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	asked, long := 0, strings.Repeat("x", 1000)
	err = source{d}.check([]string{"train"}, func(string) (string, bool) { asked++; return long, true })
	if !keyway.Is(err, keyway.BadConfig) || !strings.Contains(err.Error(), "the field driver is not for workspaces") {
		t.Errorf("%.300v", err)
	}
	if asked > 30_000 {
		t.Errorf("%d values are filled in", asked)
	}
}
