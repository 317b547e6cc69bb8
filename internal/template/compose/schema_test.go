package compose

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/schema"

	"keyway/internal/template/document"
)

// specification walks Compose's schema.
type specification struct {
	root  map[string]any
	visit func(path []string, types map[string]bool, enum []any)
}

func (s specification) walk(at any, path []string, types map[string]bool) {
	n, _ := at.(map[string]any)
	if ref, ok := n["$ref"].(string); ok {
		var to any = s.root
		for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			to = to.(map[string]any)[part]
		}
		s.walk(to, path, types)
		return
	}
	switch kind := n["type"].(type) {
	case string:
		types[kind] = true
	case []any:
		for _, each := range kind {
			types[each.(string)] = true
		}
	}
	for _, group := range []string{"oneOf", "anyOf", "allOf"} {
		each, _ := n[group].([]any)
		for _, one := range each {
			s.walk(one, path, types)
		}
	}
	if enum, ok := n["enum"].([]any); ok {
		s.visit(path, nil, enum)
	}
	inner := func(name string, at any) {
		if name == "build" { // an image is never built, whatever is below
			return
		}
		below := map[string]bool{}
		path := append(slices.Clone(path), name)
		s.walk(at, path, below)
		s.visit(path, below, nil)
	}
	properties, _ := n["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		inner(name, properties[name])
	}
	patterns, _ := n["patternProperties"].(map[string]any)
	for pattern, at := range patterns {
		if pattern != "^x-" {
			inner("a", at)
		}
	}
	if items, ok := n["items"]; ok {
		inner("[]", items)
	}
}

// empties are values of each type that a schema names, as small as they can be, and others that
// mean nothing.
var empties = map[string][]any{
	"boolean": {false, true}, "integer": {0, 1}, "number": {0, 1}, "string": {"", "0"},
	"array": {[]any{}}, "object": {map[string]any{}}, "null": {nil},
}

// around returns the fields that compose-go wants beside the one that follows in path.
func around(path, next string) map[string]any {
	request := map[string]any{"count": 1, "capabilities": []any{"gpu"}}
	switch path {
	case "volumes.[]":
		switch next {
		case "volume", "tmpfs":
			return map[string]any{"type": next, "target": "/b"}
		}
		return map[string]any{"type": "bind", "source": "/a", "target": "/b"}
	case "gpus.[]", "deploy.resources.reservations.devices.[]":
		if next == "device_ids" {
			delete(request, "count")
		}
		return request
	case "secrets.[]":
		return map[string]any{"source": "s"}
	case "ports.[]":
		return map[string]any{"target": 80}
	case "env_file.[]":
		return map[string]any{"path": "a.env", "required": false}
	case "devices.[]":
		return map[string]any{"source": "/dev/a"}
	case "ulimits.a":
		return map[string]any{"soft": 1, "hard": 1}
	}
	return map[string]any{}
}

// build returns a value in which leaf is at path, below prefix. Without leaf it has what is around
// it.
func build(prefix, path []string, leaf any, with bool) any {
	name, rest := path[0], path[1:]
	var inner any
	switch {
	case len(rest) > 0:
		inner = build(append(slices.Clone(prefix), name), rest, leaf, with)
	case with:
		inner = leaf
	case name == "[]":
		return []any{}
	}
	if name == "[]" {
		return []any{inner}
	}
	m := around(strings.Join(prefix, "."), name)
	if len(rest) > 0 || with {
		m[name] = inner
	} else {
		delete(m, name)
	}
	return m
}

// laxer lists the fields of which keyway accepts values that compose-go refuses: they have no effect.
var laxer = map[string]bool{"blkio_config.weight": true, "volumes.[].tmpfs.mode": true, "ports.[].host_ip": true}

// TestWhatChangesNothing checks, for every field of Compose's schema and with values of each of
// its types, that keyway knows the field; that a value which compose-go takes for no value is
// accepted and changes nothing here either; and that nothing is accepted which compose-go refuses.
func TestWhatChangesNothing(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal([]byte(schema.Schema), &root); err != nil {
		t.Fatal(err)
	}
	lookup := func(string) (string, bool) { return "", false }
	dir := t.TempDir()
	type result struct {
		name    string
		spec    string // what is asked for, as JSON, which omits what is empty
		err     error
		compose string
		bad     error
	}
	resolve := func(fields any) (r result) {
		service := maps.Clone(fields.(map[string]any))
		service["image"] = cmp.Or(service["image"], any("i"))
		text, err := json.Marshal(map[string]any{"services": map[string]any{"train": service}, "secrets": map[string]any{"s": map[string]any{"environment": "S"}}, "volumes": map[string]any{"a": map[string]any{}}})
		if err != nil {
			t.Fatal(err)
		}
		d, err := document.Parse("keyway.yaml", text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		set := func(name string) (string, bool) { return "x", name == "S" }
		asked, err := Service{Document: d, Name: "train", Dir: dir, Confined: true}.Resolve(Where{Local: true, Home: "/home/ada", Lookup: set})
		spec, bad := json.Marshal(asked)
		r.spec, r.err = string(spec), cmp.Or(err, bad)
		all, bad := source{d}.loadAll("train", []string{"train"}, lookup)
		words, err := json.Marshal(all.ServiceConfig)
		r.compose, r.bad = string(words), cmp.Or(bad, err)
		return r
	}
	var bare *result // without the value
	tried, same := 0, 0
	try := func(path []string, value any) {
		tried++
		name := strings.Join(path, ".")
		if bare == nil || bare.name != name {
			without := resolve(build(nil, path, nil, false))
			without.name, bare = name, &without
		}
		without, with := *bare, resolve(build(nil, path, value, true))
		shown, _ := json.Marshal(value)
		switch {
		case with.err != nil && strings.Contains(with.err.Error(), "there is no field"):
			t.Errorf("%s: %v", name, with.err)
		case with.bad != nil && with.err == nil && !laxer[name]:
			t.Errorf("%s: %s is accepted, and compose-go refuses it: %v", name, shown, with.bad)
		case with.bad == nil && without.bad == nil && without.err == nil && with.compose == without.compose:
			same++
			if with.err != nil || with.spec != without.spec {
				t.Errorf("%s: %s changes nothing for compose-go: %v\n%s\n%s", name, shown, with.err, with.spec, without.spec)
			}
		}
	}
	done := map[string]bool{}
	walk := specification{root: root, visit: func(path []string, types map[string]bool, enum []any) {
		values := enum
		for _, kind := range slices.Sorted(maps.Keys(types)) {
			if kind != "string" || path[len(path)-1] != "[]" { // an empty item of a list is nobody's
				values = append(values, empties[kind]...)
			}
		}
		for _, v := range values {
			if key := fmt.Sprint(path, v); !done[key] {
				done[key] = true
				try(path, v)
			}
		}
	}}
	definitions, _ := root["definitions"].(map[string]any)
	if definitions == nil {
		definitions, _ = root["$defs"].(map[string]any)
	}
	for _, part := range []string{"service", "container_spec", "workload_spec"} {
		walk.walk(definitions[part], nil, map[string]bool{})
	}
	t.Logf("%d values, %d mean nothing to compose-go", tried, same)
}
