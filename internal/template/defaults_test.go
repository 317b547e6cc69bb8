//go:build unix

package template

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/schema"

	"keyway/internal/keyway"
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
		spec    Asked
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
		d, err := parseDocument("keyway.yaml", text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		set := func(name string) (string, bool) { return "x", name == "S" }
		template := Template{Name: "train", File: "keyway.yaml", Source: Repository, doc: d, dir: dir}
		r.spec, r.err = template.Resolve(Where{Local: true, Home: "/home/ada", Lookup: set})
		r.spec.Spec = normal(r.spec.Spec)
		all, bad := d.loadAll("train", []string{"train"}, lookup)
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
			if with.err != nil || !reflect.DeepEqual(with.spec, without.spec) {
				t.Errorf("%s: %s changes nothing for compose-go: %v\n%+v\n%+v", name, shown, with.err, with.spec.Spec, without.spec.Spec)
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

// TestDefaultsAreAccepted checks values that the text of Compose's specification gives as the
// defaults, and others that request what every workspace has: they make the same workspace as a
// file without them. A neighbour of each is refused by its name.
func TestDefaultsAreAccepted(t *testing.T) {
	const base = "image: i\nvolumes: [cache:/c]\nsecrets: [s]"
	files := func(service, top string) string {
		return service + "\nvolumes: {cache: {" + top + "}, other: {external: true, driver: nfs}}\nsecrets: {s: {environment: S}, t: {external: true}}\n"
	}
	env := map[string]string{"S": "s", "NO": "no", "ONE": "1"}
	resolve := func(lines, top string) (Asked, error) {
		a, err := resolveText(t, files(service(lines), top), env)
		a.Variables = nil
		return a, err
	}
	want, err := resolve(base, "")
	if err != nil {
		t.Fatal(err)
	}
	// check tries values, which a | separates, with lines for the service and for the volume.
	check := func(name, same, other string, lines func(string) (string, string)) {
		t.Helper()
		each := func(values string) []string {
			return slices.DeleteFunc(strings.Split(values, " | "), func(v string) bool { return v == "" })
		}
		for _, value := range each(same) {
			got, err := resolve(lines(value))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s: %v\n got %+v\nwant %+v", name, value, err, got.Spec, want.Spec)
			}
		}
		for _, value := range each(other) {
			if got, err := resolve(lines(value)); !keyway.Is(err, keyway.BadConfig) || !strings.Contains(err.Error(), "not for workspaces: ") && !strings.Contains(err.Error(), "is not possible") {
				t.Errorf("%s: %s is refused by %v\n%+v", name, value, err, got.Spec)
			}
		}
	}
	for field, c := range map[string]struct{ same, other string }{
		"restart": {`"no" | no | ${NO} | ${UNSET:-no}`, "always | unless-stopped | on-failure:3 | ${UNSET:-always}"},
		"scale":   {"1 | '1' | ${ONE}", "2 | 0"},
		"deploy": {"{replicas: 1} | {mode: replicated, endpoint_mode: vip} | {restart_policy: {condition: none}} | {placement: {constraints: []}} | {update_config: {order: stop-first}}",
			"{replicas: 2} | {mode: global} | {endpoint_mode: dnsrr} | {restart_policy: {condition: any}} | {placement: {constraints: [a]}} | {update_config: {order: start-first}}"},
		"privileged":        {"false | no | 'off' | ${NO}", "true | yes"},
		"network_mode":      {"bridge | default", "host | none | service:x"},
		"networks":          {"[default] | {default: null} | {}", "[x] | {default: {aliases: [a]}} | [default, x]"},
		"healthcheck":       {"{disable: true} | {test: [NONE]} | {test: [\"NONE\"], disable: true} | {}", "{test: [CMD, x]} | {test: x} | {interval: 1s}"},
		"logging":           {"{driver: json-file} | {driver: json-file, options: {}}", "{driver: none} | {driver: json-file, options: {max-size: 1m}}"},
		"pull_policy":       {"missing | if_not_present", "always | never | build | daily"},
		"profiles":          {"[] | [gpu]", ""},
		"depends_on":        {"[] | {}", "[x] | {x: {condition: service_started}}"},
		"stop_signal":       {"SIGTERM", "SIGINT"},
		"stop_grace_period": {"10s | 30s", "2m"},
		"attach":            {"true | false", ""},
		"ipc":               {"private", "host | shareable"},
		"runtime":           {"runc", "nvidia"},
		"isolation":         {"default", "hyperv"},
		"cpu_shares":        {"1024 | 0", "512"},
		"cap_drop":          {"[] | [MKNOD, NET_RAW] | [CAP_AUDIT_WRITE]", "[ALL] | [MKNOD, CHOWN]"},
		"oom_kill_disable":  {"false", "true"},
		"oom_score_adj":     {"0", "-5"},
		"mem_reservation":   {"0", "1g"},
		"use_api_socket":    {"false", "true"},
		"dns":               {"[]", "8.8.8.8 | [8.8.8.8]"},
		"hostname":          {"''", "box"},
	} {
		check(field, c.same, c.other, func(value string) (string, string) { return base + "\n" + field + ": " + value, "" })
	}
	for field, c := range map[string]struct{ same, other string }{
		"driver":   {"local", "nfs"},
		"external": {"false | '${NO}'", "true | yes | {name: x}"},
		"labels":   {"{} | []", "{a: b}"}, "driver_opts": {"{}", "{type: nfs}"},
	} {
		check("volumes."+field, c.same, c.other, func(value string) (string, string) { return base, field + ": " + value })
	}
	mounted := func(service string) func(string) (string, string) {
		return func(value string) (string, string) { return strings.ReplaceAll(service, "VALUE", value), "" }
	}
	check("mounts", "volume: {nocopy: false, subpath: ''} | consistency: cached | volume: {labels: {}}", "volume: {nocopy: true} | volume: {subpath: a} | volume: {labels: {a: b}}",
		mounted(strings.Replace(base, "cache:/c", "{type: volume, source: cache, target: /c, VALUE}", 1)))
	check("options of a mount", "rw | rprivate | cached | rw,delegated", "z | nocopy | rshared", mounted(strings.Replace(base, "cache:/c", "'cache:/c:VALUE'", 1)))
	tmpfs := base + "\ntmpfs: ['/t:VALUE']"
	if want, err = resolve(strings.Replace(tmpfs, ":VALUE", "", 1), ""); err != nil {
		t.Fatal(err)
	}
	check("options of a tmpfs", "rw | nosuid,nodev | rw,exec,mode=1777", "noexec | mode=0700 | uid=1", mounted(tmpfs))
	check("a tmpfs as a mount", "1023 | 01777", "448 | 0700", func(value string) (string, string) {
		return strings.Replace(base, "[cache:/c]", "[cache:/c, {type: tmpfs, target: /t, tmpfs: {mode: "+value+"}}]", 1), ""
	})
}
