//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/docker/go-units"

	"keyway/internal/keyway"
)

// judged has each field that both keyway and Debian's docker-compose know, one service
// for each way to write it.
const judged = `x-base: &base
  image: keyway-lab/base
x-root: &root
  <<: *base
  x-keyway: {as: image}
services:
  image: {<<: *base}
  as-image: {<<: *root, environment: {SHELL_LIKE: "$${HOME}", FILLED: "${TAG}", DEFAULT: "${NOT_THERE:-d}"}}
  command-text: {<<: *base, command: 'sleep "1000"', environment: [A=1, "B=x=y", EMPTY=], cpus: "1.3"}
  command-list:
    <<: *base
    command: [sh, -c, "sleep 1000; echo 'a  b'"]
    environment: {A: "1", B: 2, C: "true", EMPTY: "", SPACES: " a  b ", DOLLAR: $$x}
    working_dir: /srv
  command-dollar:
    <<: *base
    command: "sh -c 'sleep 1000; echo $$HOME'"
    labels: {team: vision, org.example.run: "7"}
    ports: ["8888:8888", "127.0.0.1:6006:6006", "80"]
    expose: ["9000"]
  entrypoint-text: {<<: *base, entrypoint: sleep 1000, labels: [team=vision, empty], user: "1000:1000"}
  entrypoint-list: {<<: *base, entrypoint: [sh, -c], command: ["sleep 1000"], user: dev, pids_limit: 300}
  env-file:
    <<: *base
    env_file: [one.env, two.env]
    environment: {B: mine}
    mem_limit: 256m
  env-taken: {<<: *base, environment: [LAB_IMAGE, EMPTY=, NOT_HERE]}
  env-null: {<<: *base, environment: {LAB_IMAGE: , EMPTY: "", NOT_HERE: ~}}
  bind-short: {<<: *base, volumes: ["/srv/data:/mnt/data", "/srv/data:/mnt/set:ro"], shm_size: 96mb, devices: ["/dev/full", "/dev/zero:/dev/nought:r"]}
  bind-long:
    <<: *base
    volumes: [{type: bind, source: /srv/data, target: /mnt/data, read_only: true}]
    ulimits: {nofile: {soft: 1024, hard: 2048}, core: 0, memlock: 65536}
  volume-named: {<<: *base, volumes: ["cache:/mnt/cache", "other:/mnt/other:ro"], tmpfs: /mnt/memory}
  volume-long: {<<: *base, volumes: [{type: volume, source: cache, target: /mnt/cache, read_only: true}], tmpfs: [/mnt/a, "/mnt/b:size=1m"]}
  volume-anonymous: {<<: *base, volumes: [/mnt/anonymous, {type: tmpfs, target: /mnt/memory, tmpfs: {size: 1048576}}]}
  sizes: {<<: *base, cpus: 0.75, mem_limit: 268435456, shm_size: 1g}
  limits: {<<: *base, deploy: {resources: {limits: {cpus: "0.5", memory: 256M}}}}
  read-only: {<<: *base, read_only: true, cap_add: [SYS_PTRACE]}
  read-only-tmp: {<<: *base, read_only: true, tmpfs: "/tmp:size=2m", security_opt: ["no-new-privileges:true"]}
  privileges: {<<: *base, security_opt: ["no-new-privileges:false"], init: true, tty: true, stdin_open: true}
  extended:
    extends: {service: command-list}
    environment: {A: other}
    working_dir: /opt
  secret: {<<: *base, secrets: [token, {source: token, target: other}]}
  gpu-count: {<<: *base, deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: 2}]}}}}
  gpu-ids: {<<: *base, deploy: {resources: {reservations: {devices: [{capabilities: [gpu], device_ids: [GPU-fake-2, GPU-fake-0], driver: nvidia}]}}}}
  gpu-all: {<<: *base, deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}}
secrets:
  token: {file: ./token}
volumes:
  cache: {}
  other: {name: elsewhere}
`

// composeProject is the name of the project for docker-compose.
const composeProject = "judge"

// container is a container as docker inspect describes it.
type container struct {
	Name   string
	Config struct {
		Labels map[string]string
	}
	Mounts []struct {
		Type, Name, Source, Destination string
		RW                              bool
	}
	HostConfig struct {
		Tmpfs  map[string]string
		Mounts []struct {
			Type, Target string
			TmpfsOptions *struct{ SizeBytes int64 }
		}
	}
	fields map[string]any // fields of Config and HostConfig that have a meaning
}

// difference is an intended difference between docker-compose's container and keyway's. It is
// accepted only if both values are as described.
type difference struct {
	why string
	is  func(service string, compose, ours any) bool
}

// intended lists the intended differences, by the field of docker inspect. Any other difference
// fails the test.
var intended = map[string]difference{
	"Config.Hostname":     {"the first digits of the container's id", isID},
	"Config.OpenStdin":    {"the guest gets its host key there", isTrue},
	"Config.StdinOnce":    {"the guest gets its host key there", isTrue},
	"Config.Tty":          {"each session has a terminal of its own; the first process needs none", isAbsent},
	"Config.Cmd":          {"a command runs beside the guest: command compares it", isAbsent},
	"Config.Entrypoint":   {"the guest is the first process, and starts the command: command compares it", isGuest},
	"Config.Volumes":      {"compared by what is mounted", isAbsent},
	"Config.ExposedPorts": {"no port is published; ssh leads to all of them", isAbsent},
	"Config.Labels":       {"each has labels of its own, which are left out where the rest is compared", sameLabels},
	"Config.Env":          {"the guest's own variables, and no GPU that was not asked for", sameVariables},
	"Config.User":         {"a template's programs are the caller, unless it says user or as: image", isCaller},
	"Config.Healthcheck":  {"an image's check would look for its service", isNoCheck},
	"Config.StopSignal":   {"the first process is the guest", is("SIGTERM")},
	"Config.StopTimeout":  {"programs are given their grace", is(45.0)},

	"HostConfig.Binds":          {"compared by what is mounted", isAbsent},
	"HostConfig.Mounts":         {"compared by what is mounted", anything},
	"HostConfig.Tmpfs":          {"compared by target and size; ours may also be executed from, as a directory may", anything},
	"HostConfig.NetworkMode":    {"a workspace joins no network of the project", is("default")},
	"HostConfig.PortBindings":   {"no port is published", isAbsent},
	"HostConfig.Init":           {"the guest is the init", isAbsent},
	"HostConfig.RestartPolicy":  {"Compose has two words for none", is(map[string]any{"MaximumRetryCount": 0.0, "Name": "no"})},
	"HostConfig.PidsLimit":      {"a fork bomb ends before the machine does", isDefaultPids},
	"HostConfig.SecurityOpt":    {"no program gains privileges, unless the template allows it", isNoNewPrivileges},
	"HostConfig.CapAdd":         {"the same names, with their prefix", isPrefixed},
	"HostConfig.CapDrop":        {"capabilities that Podman gives to nobody either", is([]any{"CAP_AUDIT_WRITE", "CAP_MKNOD", "CAP_NET_RAW"})},
	"HostConfig.ShmSize":        {"half of the memory where the template does not say; 64 MiB end data loaders", isShmDefault},
	"HostConfig.DeviceRequests": {"keyway chooses the GPUs and binds them by UUID", sameGPUs},
}

func anything(string, any, any) bool      { return true }
func isTrue(_ string, _, ours any) bool   { return ours == true }
func isAbsent(_ string, _, ours any) bool { return ours == nil }

func is(want any) func(string, any, any) bool {
	return func(_ string, _, ours any) bool { return reflect.DeepEqual(ours, want) }
}

func isID(_ string, compose, ours any) bool {
	return len(fmt.Sprint(compose)) == 12 && len(fmt.Sprint(ours)) == 12
}

func isGuest(_ string, _, ours any) bool {
	list, _ := ours.([]any)
	return len(list) > 2 && list[0] == keyway.GuestHome.Program() && list[1] == "init"
}

func isNoCheck(_ string, compose, ours any) bool {
	return compose == nil && reflect.DeepEqual(ours, map[string]any{"Test": []any{"NONE"}})
}

func isPrefixed(_ string, compose, ours any) bool {
	a, _ := compose.([]any)
	b, _ := ours.([]any)
	return slices.EqualFunc(a, b, func(a, b any) bool { return "CAP_"+fmt.Sprint(a) == b })
}

func isCaller(service string, compose, ours any) bool {
	return compose == nil && ours == "0:0" && service != "as-image"
}

func isDefaultPids(_ string, compose, ours any) bool { return compose == nil && ours == 32768.0 }

func isShmDefault(service string, compose, ours any) bool {
	size, _ := ours.(float64)
	if service == "env-file" || service == "limits" { // which have 256 MiB of memory
		return size == 128<<20
	}
	return compose == 64.0*(1<<20) && size > 64<<20
}

func isNoNewPrivileges(service string, _, ours any) bool {
	if service == "privileges" {
		return ours == nil
	}
	return reflect.DeepEqual(ours, []any{"no-new-privileges"})
}

func sameLabels(_ string, compose, ours any) bool {
	strip := func(v any, own string) map[string]any {
		m, _ := v.(map[string]any)
		m = maps.Clone(m)
		maps.DeleteFunc(m, func(k string, _ any) bool { return strings.HasPrefix(k, own) })
		return m
	}
	a, b := strip(compose, "com.docker.compose."), strip(ours, "dev.keyway.")
	return maps.Equal(a, b)
}

func sameVariables(service string, compose, ours any) bool {
	strip := func(v any) []string {
		var all []string
		list, _ := v.([]any)
		for _, kv := range list {
			text := fmt.Sprint(kv)
			if name, _, _ := strings.Cut(text, "="); !strings.HasPrefix(name, "KEYWAY_") && name != "NVIDIA_VISIBLE_DEVICES" {
				all = append(all, text)
			}
		}
		slices.Sort(all)
		return all
	}
	return slices.Equal(strip(compose), strip(ours))
}

func sameGPUs(service string, compose, ours any) bool {
	want := map[string]string{"gpu-count": "GPU-fake-0,GPU-fake-1", "gpu-ids": "GPU-fake-0,GPU-fake-2", "gpu-all": "GPU-fake-0,GPU-fake-1,GPU-fake-2"}
	var requests []struct {
		DeviceIDs    []string
		Capabilities [][]string
	}
	text, _ := json.Marshal(ours)
	if compose == nil || json.Unmarshal(text, &requests) != nil || len(requests) != 1 {
		return false
	}
	slices.Sort(requests[0].DeviceIDs)
	return strings.Join(requests[0].DeviceIDs, ",") == want[service] && reflect.DeepEqual(requests[0].Capabilities, [][]string{{"gpu"}})
}

// meaning returns a field's value without parts that have no meaning: an empty list counts as
// absent, and so does a switch that is off.
func meaning(v any) any {
	switch v := v.(type) {
	case []any:
		if len(v) == 0 {
			return nil
		}
	case map[string]any:
		if len(v) == 0 {
			return nil
		}
	case string, bool, float64:
		if reflect.ValueOf(v).IsZero() {
			return nil
		}
	}
	return v
}

// inspect returns the containers of the GPU machine, by name.
func (w *world) inspect(t *testing.T, filters ...string) map[string]container {
	t.Helper()
	ids := strings.Fields(mustDocker(t, w, append([]string{"ps", "-aq"}, filters...)...))
	if len(ids) == 0 {
		return nil
	}
	text := []byte(mustDocker(t, w, append([]string{"inspect"}, ids...)...))
	var all []container
	var raw []map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	byName := map[string]container{}
	for i, c := range all {
		c.fields = map[string]any{}
		for _, part := range []string{"Config", "HostConfig"} {
			fields, _ := raw[i][part].(map[string]any)
			for name, value := range fields {
				if value = meaning(value); value != nil {
					c.fields[part+"."+name] = value
				}
			}
		}
		byName[strings.TrimPrefix(c.Name, "/")] = c
	}
	return byName
}

// mounted returns the mounts of a container that its file requests, one on a line.
func (c container) mounted() []string {
	lines := map[string]bool{}
	for _, m := range c.Mounts {
		what := m.Source
		if m.Type == "volume" {
			what = strings.TrimPrefix(strings.TrimPrefix(m.Name, composeProject+"_"), "keyway-0-")
			if len(what) == 64 { // a volume without a name has an id for one
				what = ""
			}
		}
		if strings.HasPrefix(m.Destination, keyway.SecretsDir) { // docker-compose mounts each file of the caller's; ours are copies
			lines[keyway.SecretsDir] = true
		} else if !keyway.GuestHome.Has(m.Destination) && m.Type != "tmpfs" {
			lines[fmt.Sprintf("%s %s at %s, writable: %v", m.Type, what, m.Destination, m.RW)] = true
		}
	}
	memory := func(target string, size int64, writable bool) {
		lines[fmt.Sprintf("tmpfs at %s, %d bytes, writable: %v", target, size, writable)] = true
	}
	for target, options := range c.HostConfig.Tmpfs {
		var size int64
		writable := true
		for option := range strings.SplitSeq(options, ",") {
			if text, ok := strings.CutPrefix(option, "size="); ok {
				size, _ = units.RAMInBytes(text)
			}
			writable = writable && option != "ro"
		}
		memory(target, size, writable)
	}
	for _, m := range c.HostConfig.Mounts {
		if m.Type == "tmpfs" && m.TmpfsOptions != nil {
			memory(m.Target, m.TmpfsOptions.SizeBytes, true)
		} else if m.Type == "tmpfs" {
			memory(m.Target, 0, true)
		}
	}
	return slices.Sorted(maps.Keys(lines))
}

// command returns the command line that runs in a container: with ours, the one that the guest
// starts.
func (c container) command(ours bool) []string {
	var all []string
	for _, field := range []string{"Config.Entrypoint", "Config.Cmd"} {
		list, _ := c.fields[field].([]any)
		for _, word := range list {
			all = append(all, fmt.Sprint(word))
		}
	}
	if !ours {
		if slices.Equal(all, []string{"bash"}) { // the image's own command, in whose place a workspace waits
			return nil
		}
		return all
	}
	at := slices.Index(all, "--")
	if at < 0 {
		return nil
	}
	return all[at+1:]
}

// beside compares the container that docker-compose has made of a service with ours,
// and adds the fields of intended differences to met.
func beside(t *testing.T, service string, compose, ours container, met map[string]bool) {
	t.Helper()
	extra := []string{}
	if service == "read-only" {
		extra = append(extra, "tmpfs at /tmp, 0 bytes, writable: true") // nearly every program needs one
	}
	if a, b := slices.Sorted(slices.Values(append(compose.mounted(), extra...))), ours.mounted(); !slices.Equal(a, b) {
		t.Errorf("%s: mounted are\n%q\nby docker-compose, and by keyway\n%q", service, a, b)
	}
	if a, b := compose.command(false), ours.command(true); !slices.Equal(a, b) {
		t.Errorf("%s: docker-compose runs %q, and keyway %q", service, a, b)
	}
	names := maps.Clone(compose.fields)
	maps.Copy(names, ours.fields)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, b := compose.fields[name], ours.fields[name]
		if same(a, b) {
			continue
		}
		d, known := intended[name]
		met[name] = true
		if !known || !d.is(service, a, b) {
			t.Errorf("%s: %s is %v by docker-compose, and %v by keyway (%s)", service, name, a, b, d.why)
		}
	}
}

// same compares two values. The order of limits and devices has no meaning.
func same(a, b any) bool {
	sorted := func(v any) any {
		list, ok := v.([]any)
		if !ok {
			return v
		}
		texts := make([]string, len(list))
		for i, each := range list {
			text, _ := json.Marshal(each)
			texts[i] = string(text)
		}
		slices.Sort(texts)
		return texts
	}
	return reflect.DeepEqual(sorted(a), sorted(b))
}

// composeServices returns the services of judged, in its order.
func composeServices() (names []string) {
	_, body, _ := strings.Cut(judged, "\nservices:\n")
	body, _, _ = strings.Cut(body, "\nsecrets:\n")
	for line := range strings.Lines(body) {
		if name, _, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(line, "  ") && line[2] != ' ' {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

// besideCompose has Debian's docker-compose, which shares no code with keyway, make
// containers of a file, and compares them with the workspaces that keyway makes of it.
func (w *world) besideCompose(t *testing.T) {
	const dir = "/root/judged"
	for name, text := range map[string]string{"compose.yaml": judged, ".env": "TAG=from-dot-env\n", "token": "s3cret", "one.env": "A=1\n# no\nB=2\nQUOTED=\"a b\"\n", "two.env": "C=3\n"} {
		file := path.Join(dir, name)
		w.write(t, file, text)
		if err := w.GPU.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.GPU.WriteFile("/srv/data/set", "data", 0o644); err != nil {
		t.Fatal(err)
	}
	services := composeServices()
	w.composed(t, dir, services)
	theirs := w.inspect(t, "--filter", "label=com.docker.compose.project="+composeProject)
	if len(theirs) != len(services) || len(services) < 20 {
		t.Fatalf("docker-compose made %d containers of %d services", len(theirs), len(services))
	}
	ours := map[string]container{}
	for _, service := range services {
		w.must(t, "env", "-C", dir, "keyway", "up", service, "--on", "gpu1")
		if strings.HasPrefix(service, "gpu-") { // the next one needs them
			maps.Copy(ours, w.inspect(t, "--filter", "label=dev.keyway.name="+service))
			w.must(t, "keyway", "rm", "--yes", service)
		}
	}
	maps.Copy(ours, w.inspect(t, "--filter", "label=dev.keyway.name"))
	met := map[string]bool{}
	for _, service := range services {
		a, ok1 := theirs[composeProject+"_"+service+"_1"]
		b, ok2 := ours["keyway-0-"+service]
		if !ok1 || !ok2 {
			t.Errorf("%s: made by docker-compose: %v, by keyway: %v", service, ok1, ok2)
			continue
		}
		beside(t, service, a, b, met)
	}
	for name, d := range intended {
		if !met[name] {
			t.Errorf("%s never differs: %s", name, d.why)
		}
	}
	for _, service := range []string{"env-taken", "env-null"} {
		equal(t, service, w.must(t, "ssh", service, "env | grep -E 'LAB_IMAGE|EMPTY|NOT_HERE'"), "EMPTY=\n")
	}
	equal(t, "the secrets", mustDocker(t, w, "exec", "keyway-0-secret", "ls", keyway.SecretsDir), "other\ntoken")
}

// composed has docker-compose make the containers of services, a few at a time: its
// client closes connections that are in use where it makes many at once, and with
// COMPOSE_PARALLEL_LIMIT=2 it waits for itself. It is the judge, and not what is tried:
// a call that failed or hung is made again, twice.
func (w *world) composed(t *testing.T, dir string, services []string) {
	t.Helper()
	for few := range slices.Chunk(services, 5) {
		argv := append([]string{"-C", dir, "timeout", "-k", "5", "60", "docker-compose", "-f", "compose.yaml", "-p", composeProject, "up", "--no-start"}, few...)
		_, err := w.GPU.Output("env", argv...)
		for range 2 {
			if err != nil {
				t.Logf("docker-compose is called again: %v", err)
				_, err = w.GPU.Output("env", argv...)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestJudgedFields checks that judged has each field of a service that docs/TEMPLATES.md names.
func TestJudgedFields(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/TEMPLATES.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| field | is |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	fields := regexp.MustCompile("`([^`]+)`")
	found := 0
	for row := range strings.Lines(table) {
		for _, m := range fields.FindAllStringSubmatch(strings.Split(row, "|")[1], -1) {
			// gpus is younger than Debian's docker-compose, which calls it devices. platform leaves nothing
			// in a container to compare.
			if name := path.Base(strings.ReplaceAll(m[1], ".", "/")); name == "gpus" || name == "platform" || strings.HasPrefix(m[1], "x-keyway.") {
				continue
			} else if found++; !strings.Contains(judged, name+":") {
				t.Errorf("no service has %s", m[1])
			}
		}
	}
	if found < 25 {
		t.Errorf("only %d fields are in the table", found)
	}
}
