//go:build unix

package template

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
	"keyway/internal/template/fields"
	"keyway/internal/template/variables"
)

// loadAsCompose is load by compose-go's own loader, with its schema, of the fields that keyway
// honours.
func (d *document) loadAsCompose(name string, names []string, lookup func(string) (string, bool)) (_ loaded, err error) {
	return d.composed(d.services(names), name, lookup)
}

// loadAll is loadAsCompose with all fields.
func (d *document) loadAll(name string, names []string, lookup func(string) (string, bool)) (_ loaded, err error) {
	all := map[string]any{}
	for _, each := range names {
		all[each] = plain(field(field(d.root, "services"), each))
	}
	return d.composed(all, name, lookup)
}

func (d *document) composed(services map[string]any, name string, lookup func(string) (string, bool)) (_ loaded, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it panics: %v", r)
		}
	}()
	config := map[string]any{"name": "keyway", "services": services}
	for _, top := range []string{"volumes", "secrets"} {
		if n := field(d.root, top); n != nil {
			config[top] = plain(n)
		}
	}
	details := types.ConfigDetails{WorkingDir: "/", ConfigFiles: []types.ConfigFile{{Filename: d.file, Config: config}}}
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
		d, err := parseDocument("keyway.yaml", []byte(text))
		if err != nil {
			return
		}
		names := []string{"train"}
		tmpl := Template{Name: "train", File: "keyway.yaml", Source: Repository, doc: d, dir: dir}
		env := environment{dir: dir, home: "/home/ada", lookup: lookup, confined: true}
		resolve := func(load func(string, []string, func(string) (string, bool)) (loaded, error)) (Asked, error) {
			service, err := load("train", names, lookup)
			if err != nil {
				return Asked{}, err
			}
			return tmpl.asked(names, service, env, Where{Local: true})
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

// TestNoKeyTwice checks that a repeated key is refused, since it would be unclear which of the two
// counts.
func TestNoKeyTwice(t *testing.T) {
	for text, at := range map[string]string{
		"services:\n  a: {image: x}\n  a: {image: y}\n":                               "keyway.yaml:3: \"a\"",
		"services:\n  a: {image: x}\nservices:\n  b: {image: y}\n":                    "keyway.yaml:3: \"services\"",
		"services:\n  a:\n    image: x\n    image: y\n":                               "keyway.yaml:4: \"image\"",
		"services:\n  a:\n    image: x\n    environment: {A: 1, \"A\": 2}\n":          "keyway.yaml:4: \"A\"",
		"x-a: &k a\nservices:\n  *k : {image: x}\n  a: {image: y}\n":                  "keyway.yaml:4: \"a\"",
		"x-a: &k {image: z}\nservices:\n  a:\n    <<: *k\n    image: x\n    <<: *k\n": "keyway.yaml:6: \"<<\"",
	} {
		_, err := parseDocument("keyway.yaml", []byte(text))
		if !keyway.Is(err, keyway.BadConfig) || !strings.HasPrefix(err.Error(), at+" is there twice") {
			t.Errorf("%s\n%v, want %s", text, err, at)
		}
	}
	if _, err := parseDocument("keyway.yaml", []byte("x-a: &k {image: z}\nservices:\n  a: {<<: *k, image: x}\n  b: {<<: *k}\n")); err != nil {
		t.Error(err)
	}
}
