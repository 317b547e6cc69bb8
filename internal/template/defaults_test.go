//go:build unix

package template

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"keyway/internal/keyway"
	"keyway/internal/template/compose"
)

// TestDefaultsAreAccepted checks values that the text of Compose's specification gives as the
// defaults, and others that request what every workspace has: they make the same workspace as a
// file without them. A neighbour of each is refused by its name.
func TestDefaultsAreAccepted(t *testing.T) {
	const base = "image: i\nvolumes: [cache:/c]\nsecrets: [s]"
	files := func(service, top string) string {
		return service + "\nvolumes: {cache: {" + top + "}, other: {external: true, driver: nfs}}\nsecrets: {s: {environment: S}, t: {external: true}}\n"
	}
	env := map[string]string{"S": "s", "NO": "no", "ONE": "1"}
	resolve := func(lines, top string) (compose.Asked, error) {
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
