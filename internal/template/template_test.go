//go:build unix

package template

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"keyway/internal/catalogue"
	"keyway/internal/keyway"
	"keyway/internal/template/compose"
	"keyway/internal/template/document"
	"keyway/internal/template/variables"
)

// resolve resolves the service train of a Compose file in a repository.
func resolveText(t *testing.T, text string, env map[string]string) (compose.Asked, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "keyway.yaml"), text)
	return resolveIn(t, dir, env)
}

func resolveIn(t *testing.T, dir string, env map[string]string) (compose.Asked, error) {
	t.Helper()
	found, err := Finder{Dir: dir}.Find("train")
	if err != nil {
		return compose.Asked{}, err
	}
	return found.Resolve(compose.Where{Local: true, Home: "/home/ada", Lookup: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// service returns a file whose service train has these lines.
func service(lines string) string {
	return "services:\n  train:\n    " + strings.ReplaceAll(strings.TrimSpace(lines), "\n", "\n    ") + "\n"
}

func TestFieldsBecomeASpec(t *testing.T) {
	mib := int64(1 << 20)
	for name, c := range map[string]struct {
		text string
		want func(*keyway.Spec)
	}{
		"image":          {"image: my/image:1", func(s *keyway.Spec) { s.Image = "my/image:1" }},
		"gpus all":       {"gpus: all", func(s *keyway.Spec) { s.GPUs.All = true }},
		"gpus count":     {"gpus: [{count: 2, driver: nvidia}]", func(s *keyway.Spec) { s.GPUs.Count = 2 }},
		"gpus count all": {"gpus: [{count: all}]", func(s *keyway.Spec) { s.GPUs.All = true }},
		"gpus ids":       {`gpus: [{device_ids: ["0", "3"]}]`, func(s *keyway.Spec) { s.GPUs.IDs = []string{"0", "3"} }},
		"gpus uuid":      {"gpus: [{device_ids: [GPU-5f1c]}]", func(s *keyway.Spec) { s.GPUs.IDs = []string{"GPU-5f1c"} }},
		"no gpus":        {"gpus: [{count: 0}]", func(*keyway.Spec) {}},
		"gpus variable":  {"gpus: [{count: '${NONE:-0}'}]", func(*keyway.Spec) {}},
		"gpus -1":        {"gpus: [{count: -1, capabilities: [gpu, compute, utility]}]", func(s *keyway.Spec) { s.GPUs.All = true }},
		"deploy":         {"deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: 2}]}}}", func(s *keyway.Spec) { s.GPUs.Count = 2 }},
		"deploy limits":  {"deploy: {resources: {limits: {cpus: '1.5', memory: 64M, pids: 100}}}", func(s *keyway.Spec) { s.CPUs, s.Memory, s.PidsLimit = 1.5, 64*mib, 100 }},
		"cdi":            {"devices: [nvidia.com/gpu=0, nvidia.com/gpu=1]", func(s *keyway.Spec) { s.GPUs.IDs = []string{"0", "1"} }},
		"cdi part":       {"devices: ['nvidia.com/gpu=0:1']", func(s *keyway.Spec) { s.GPUs.IDs = []string{"0:1"} }},
		"cdi all":        {"devices: [nvidia.com/gpu=all]", func(s *keyway.Spec) { s.GPUs.All = true }},
		"device": {"devices: ['/dev/fuse', '/dev/a:/dev/b:r']", func(s *keyway.Spec) {
			s.Devices = []keyway.Device{{Source: "/dev/fuse", Target: "/dev/fuse", Access: "rwm"}, {Source: "/dev/a", Target: "/dev/b", Access: "r"}}
		}},
		"shm_size": {"shm_size: 2gb", func(s *keyway.Spec) { s.ShmSize = 2048 * mib }},
		"no core files": {"ulimits: {core: {soft: 0, hard: -1}, memlock: 0, nice: {soft: 0, hard: 0}}", func(s *keyway.Spec) {
			s.Ulimits = []keyway.Ulimit{{Name: "core", Hard: -1}, {Name: "memlock"}, {Name: "nice"}}
		}},
		"ulimits": {"ulimits: {nofile: {soft: 1, hard: 2}, memlock: -1}", func(s *keyway.Spec) {
			s.Ulimits = []keyway.Ulimit{{Name: "memlock", Soft: -1, Hard: -1}, {Name: "nofile", Soft: 1, Hard: 2}}
		}},
		"bind": {"volumes: ['/data:/mnt/data:ro']", func(s *keyway.Spec) {
			s.Mounts = []keyway.Mount{{Source: "/data", Target: "/mnt/data", ReadOnly: true}}
		}},
		"bind, long": {"volumes: [{type: bind, source: /data, target: /mnt/data, read_only: true}]", func(s *keyway.Spec) {
			s.Mounts = []keyway.Mount{{Source: "/data", Target: "/mnt/data", ReadOnly: true}}
		}},
		"home of the laptop": {"volumes: ['~/data:/mnt/data']", func(s *keyway.Spec) { s.Mounts = []keyway.Mount{{Source: "/home/ada/data", Target: "/mnt/data"}} }},
		"anonymous volume":   {"volumes: [/cache]", func(s *keyway.Spec) { s.Mounts = []keyway.Mount{{Kind: keyway.MountVolume, Target: "/cache"}} }},
		"tmpfs": {"tmpfs: ['/a', '/b:size=1m']", func(s *keyway.Spec) {
			s.Mounts = []keyway.Mount{{Kind: keyway.MountTmpfs, Target: "/a"}, {Kind: keyway.MountTmpfs, Target: "/b", Size: mib}}
		}},
		"tmpfs, long":       {"volumes: [{type: tmpfs, target: /a, tmpfs: {size: 1m}}]", func(s *keyway.Spec) { s.Mounts = []keyway.Mount{{Kind: keyway.MountTmpfs, Target: "/a", Size: mib}} }},
		"environment":       {"environment: {A: 1, B: two, C: true, D: 2024-01-01}", func(s *keyway.Spec) { s.Env = map[string]string{"A": "1", "B": "two", "C": "true", "D": "2024-01-01"} }},
		"environment, list": {"environment: [A=1, HERE, NOT_HERE]", func(s *keyway.Spec) { s.Env, s.Unset = map[string]string{"A": "1", "HERE": "h"}, []string{"NOT_HERE"} }},
		"user":              {"user: '1000:1000'", func(s *keyway.Spec) { s.User, s.Caller = "1000:1000", false }},
		"as the image":      {"x-keyway: {as: image}", func(s *keyway.Spec) { s.Caller = false }},
		"working_dir":       {"working_dir: /work", func(s *keyway.Spec) { s.Workdir = "/work" }},
		"command":           {"command: tensorboard --logdir '/my runs'", func(s *keyway.Spec) { s.Command = []string{"tensorboard", "--logdir", "/my runs"} }},
		"entrypoint":        {"entrypoint: [a]\ncommand: [b, c]", func(s *keyway.Spec) { s.Command = []string{"a", "b", "c"} }},
		"ports":             {"ports: ['8888:8888', '127.0.0.1:6006:6006', '80']", func(s *keyway.Spec) { s.Ports = []int{8888, 6006, 80} }},
		"ports, long":       {"ports: [{target: 8888, published: '1234'}]\nexpose: ['8888', '9']", func(s *keyway.Spec) { s.Ports = []int{8888, 9} }},
		"cpus":              {"cpus: 1.3", func(s *keyway.Spec) { s.CPUs = 1.3 }},
		"cpus as text":      {"cpus: '0.75'", func(s *keyway.Spec) { s.CPUs = 0.75 }},
		"mem_limit":         {"mem_limit: 64m", func(s *keyway.Spec) { s.Memory = 64 * mib }},
		"mem_limit number":  {"mem_limit: 67108864", func(s *keyway.Spec) { s.Memory = 64 * mib }},
		"labels":            {"labels: {team: vision}", func(s *keyway.Spec) { s.Labels = map[string]string{"team": "vision"} }},
		"read_only": {"read_only: true\ncap_add: [SYS_PTRACE]\nsecurity_opt: ['no-new-privileges:false']\npids_limit: 9", func(s *keyway.Spec) {
			s.ReadOnly, s.CapAdd, s.NewPrivileges, s.PidsLimit = true, []string{"SYS_PTRACE"}, true, 9
		}},
		"interactive":   {"stdin_open: true\ntty: true\ninit: true", func(*keyway.Spec) {}},
		"forward_agent": {"x-keyway: {forward_agent: true, home: my-home}", func(s *keyway.Spec) { s.ForwardAgent, s.HomeVolume = true, "my-home" }},
		"interpolation": {"image: 'a:${TAG:-1}'\ncpus: ${N}\nworking_dir: /$$x", func(s *keyway.Spec) { s.Image, s.CPUs, s.Workdir = "a:1", 2, "/$x" }},
		"variables in variables": {"image: 'a${NONE:-${N}}-${N:+x}${NONE+y}/${HERE:?why}${HERE?}{b}$'\nworking_dir: '/${NONE-}${NONE:-${NONE:-d}}/$HERE/${NONE:-{\"}\"}}'", func(s *keyway.Spec) {
			s.Image, s.Workdir = "a2-x/hh{b}$", "/d/h/{\"}\"}"
		}},
		"a quoted operator": {"command: echo 'a | b' \"c;d\" e\\&", func(s *keyway.Spec) { s.Command = []string{"echo", "a | b", "c;d", "e&"} }},
		"other extensions":  {"x-mine: {any: [thing]}\nimage: i", func(s *keyway.Spec) { s.Image = "i" }},
	} {
		a, err := resolveText(t, service(c.text), map[string]string{"HERE": "h", "N": "2"})
		want := keyway.Spec{Process: keyway.Process{Caller: true}}
		c.want(&want)
		if err != nil || !reflect.DeepEqual(normal(a.Spec), normal(want)) {
			t.Errorf("%s: %v %v\n got %+v\nwant %+v", name, err, keyway.AsError(err), a.Spec, want)
		}
	}
}

// normal replaces empty lists and maps by nil.
func normal(s keyway.Spec) keyway.Spec {
	if len(s.Command) == 0 {
		s.Command = nil
	}
	if len(s.Labels) == 0 {
		s.Labels = nil
	}
	if len(s.CapAdd) == 0 {
		s.CapAdd = nil
	}
	return s
}

// TestProblemsHaveALine checks that each kind of problem names its line, in words for people.
func TestProblemsHaveALine(t *testing.T) {
	for name, c := range map[string]struct{ text, line, says, next string }{
		"misspelled":      {"image: i\nshm_sise: 1g", "4", `there is no field "train.shm_sise"`, "did you mean: shm_size"},
		"misspelled deep": {"deploy:\n  resources:\n    limit: {cpus: 1}", "5", `"train.deploy.resources.limit"`, "limits"},
		"misspelled ours": {"x-keyway: {setpu: x}", "3", `"train.x-keyway.setpu"`, "setup"},
		"user by number":  {"user: 1000", "3", "user must be a string", "quotes"},
		"unsupported":     {"image: i\nrestart: always", "4", "restart is not for workspaces", "leave restart out"},
		"build":           {"build: .", "3", "build is not for workspaces: an image is built", ""},
		"not text":        {"image: [i]", "3", "image must be a string", ""},
		"not a size":      {"image: i\nshm_size: lots", "4", "shm_size", ""},
		"not a number":    {"cpus: many", "3", "cpus", ""},
		"bad gpu":         {"gpus: [{device_ids: [gpu7]}]", "3", `"gpu7" is not a GPU`, "gpu-forms"},
		"gpus twice":      {"gpus: all\ndevices: [nvidia.com/gpu=0]", "4", "GPUs are asked for twice", "keep gpus"},
		"count and ids":   {`gpus: [{count: 1, device_ids: ["0"]}]`, "3", "exclu", ""},
		"other CDI":       {"devices: [example.com/net=0]", "3", "neither a GPU's CDI name nor a device file", "nvidia.com/gpu=0"},
		"unset variable":  {"image: i\nvolumes: ['/data/${WHO}:/data']", "4", "the variable WHO is not set", "export WHO="},
		"twice":           {"image: a\nimage: b", "4", "is there twice", "remove one"},
		"unknown volume":  {"volumes: ['mine:/data']", "3", `no volume "mine"`, "volumes: {mine: {}}"},
		"unknown secret":  {"secrets: [token]", "3", `no secret "token"`, "secrets: {token:"},
		"udp":             {"ports: ['53:53/udp']", "3", "of udp", ""},
		"extends itself":  {"extends: train", "3", "extends itself", ""},
		"extends a file":  {"extends: {file: other.yaml, service: x}", "3", "file is not for workspaces", ""},
		"extends nothing": {"extends: nothing", "", "no service nothing", ""},
		"env_file":        {"env_file: none.env", "3", "none.env cannot be read", "beside"},
		"tab":             {"image: i\n\tcpus: 1", "", "not YAML", "no tabs"},
		"as":              {"x-keyway: {as: root}", "3", "x-keyway.as", "caller:"},
		"as and user":     {"user: ada\nx-keyway: {as: caller}", "", "exclude one another", ""},
		"capability":      {"cap_add: [not/one]", "", "not the name of a capability", ""},
		"own label":       {"labels: {dev.keyway.name: x}", "", "keyway's own", ""},
		"seccomp":         {"security_opt: ['seccomp:unconfined']", "3", "not possible", "no-new-privileges"},
		"tmpfs option":    {"tmpfs: ['/a:uid=1']", "3", `the option "uid=1"`, "size=SIZE"},
		"mount options":   {"volumes: ['/a:/b:ro,z']", "3", `the option "z" is not possible`, "ro, rw"},
		"shared mounts":   {"volumes: ['/a:/b:${HOW:-rshared}']", "3", `the option "rshared" is not possible`, "ro, rw"},
		"copied volume":   {"volumes: ['named:/b:nocopy']", "3", `the option "nocopy" is not possible`, "ro, rw"},
		"unknown option":  {"volumes: ['/a:/b:read-only']", "3", `the option "read-only" is not possible`, "ro, rw"},
		"GPUs below none": {"gpus: [{count: -2}]", "3", "-2 GPUs cannot be asked for", "count: all"},
		"all and ids":     {`gpus: [{count: all, device_ids: ["0"]}]`, "3", "exclu", ""},
		"GPU's video":     {"gpus: [{count: 1, capabilities: [gpu, video]}]", "3", `the capability "video"`, "NVIDIA_DRIVER_CAPABILITIES"},
		"reset":           {"image: i\nports: !reset []", "4", "the tag !reset means nothing here", "leave !reset out"},
		"override":        {"image: i\nenvironment: !override {A: b}", "4", "the tag !override means nothing here", ""},
		"tag of a text":   {"image: !binary aQ==", "3", "the tag !binary means nothing here", ""},
		"unset default":   {"image: i\nvolumes: ['/data/${WHO:-${WHOM}}:/data']", "4", "the variable WHOM is not set", "export WHOM="},
		"unset behind":    {"image: i\nvolumes: ['/data/${WHO:-me}/${WHOM}:/data']", "4", "the variable WHOM is not set", "export WHOM="},
		"required":        {"image: '${WHO:?say who}'", "3", "the variable WHO is not set: say who", "export WHO="},
		"required, empty": {"image: '${EMPTY:?say who}'", "3", "the variable EMPTY is empty: say who", "export EMPTY="},
		"odd variable":    {"image: '${1}'", "3", "has no form of Compose's", ""},
		"no source":       {"volumes: [{type: bind, target: /a}]", "3", "the directory to mount at /a is missing", "source: /data"},
		"tmpfs's source":  {"volumes: [{type: tmpfs, source: /b, target: /a}]", "3", "cannot have a source", "type: bind"},
		"a bind's size":   {"volumes: [{type: bind, source: /b, target: /a, tmpfs: {size: 1m}}]", "3", "only a tmpfs has a size", "type: tmpfs"},
		"two limits":      {"mem_limit: 1g\ndeploy: {resources: {limits: {memory: 2g}}}", "3", "deploy.resources.limits says otherwise", "keep one"},
		"size as a float": {"shm_size: 8e9", "3", "shm_size must be a whole number", ""},
		"half a ulimit":   {"ulimits: {nofile: {hard: 5}}", "3", "nofile needs a soft limit and a hard one", "65536"},
		"the other half":  {"ulimits: {nofile: {soft: 0}}", "3", "nofile needs a soft limit and a hard one", "65536"},
		"here, shared":    {"volumes: ['.:/b:z']", "3", `the option "z" is not possible`, "ro, rw"},
		"home, shared":    {"volumes: ['~:/b:ro,rshared']", "3", `the option "rshared" is not possible`, "ro, rw"},
		"a drive, shared": {"volumes: ['c:/a:/b:nocopy']", "3", `the option "nocopy" is not possible`, "ro, rw"},
		"a pipe":          {"command: cat /data | sort", "3", `no shell reads it, and "|" is a shell's`, "[sh, -c,"},
		"merge of none":   {"image: i\n<<: 5", "4", "there is none behind it", "<<: *NAME"},
		"large port":      {"image: i\nports: ['70000']", "4", "70000", ""},
		"a platform":      {"platform: linux/amd64/v8/x", "3", `"linux/amd64/v8/x" is no platform`, "linux/amd64"},
		"of Windows":      {"platform: windows/amd64", "3", "containers are of linux, not windows", "linux/amd64"},
		"a list as name":  {"environment: {? [a, b] : c}", "3", "the name of a field is a word", "NAME: VALUE"},
		"network":         {"networks: [x]", "3", "networks is not for workspaces", ""},
	} {
		_, err := resolveText(t, service(c.text), map[string]string{"EMPTY": ""})
		said := keyway.AsError(err)
		at := ".yaml:" + c.line + ": "
		if c.line == "" {
			at = ".yaml"
		}
		if err == nil || !keyway.Is(err, keyway.BadConfig) || !strings.Contains(said.Message, at) ||
			!strings.Contains(said.Message, c.says) || !strings.Contains(said.Help(), c.next) {
			t.Errorf("%s: %v\nnext: %s", name, err, said)
		}
	}
}

// TestVolumesOfOthers checks that a volume which exists already is not replaced by an empty one without a word.
func TestVolumesOfOthers(t *testing.T) {
	for _, external := range []string{"true", "{name: other}"} {
		_, err := resolveText(t, service("image: i\nvolumes: [cache:/c]")+"volumes: {cache: {external: "+external+"}}\n", nil)
		if said := keyway.AsError(err); !keyway.Is(err, keyway.BadConfig) || !strings.Contains(said.Message, "the field external") || !strings.Contains(said.Help(), "leave external out") {
			t.Errorf("%s: %v", external, err)
		}
	}
}

// TestTwiceIsAnError checks that, of two values that exclude one another, none is dropped. The
// error names both lines.
func TestTwiceIsAnError(t *testing.T) {
	const files = "volumes: {cache: {}}\nsecrets: {a: {environment: HERE}, b: {environment: HERE}}\n"
	for name, c := range map[string]struct{ text, second, says string }{
		"mounts":               {"volumes:\n- /a:/x\n- /b:/x:ro", "5", "volumes: the target /x is taken already, in line 4 (volumes)"},
		"mounts of two forms":  {"volumes:\n- /a:/x\n- {type: bind, source: /b, target: /x/}", "5", "line 4"},
		"mount and volume":     {"volumes:\n- /a:/x\n- cache:/x", "5", "line 4"},
		"mount and tmpfs":      {"tmpfs: /x\nvolumes:\n- /a:/x", "3", "tmpfs: the target /x is taken already, in line 5 (volumes)"},
		"volume and tmpfs":     {"volumes: [/x]\ntmpfs:\n- /y\n- /x:size=1m", "6", "line 3"},
		"two tmpfs":            {"tmpfs:\n- /x:size=1m\n- /x:size=2m", "5", "line 4"},
		"by a variable":        {"volumes:\n- /a:/h\n- /b:/${HERE}", "5", "line 4"},
		"variables":            {"environment:\n- A=1\n- B=1\n- A=2", "6", "environment: the variable A is taken already, in line 4"},
		"labels":               {"labels:\n- a=1\n- a=2", "5", "the label a"},
		"devices":              {"devices:\n- /dev/a\n- /dev/b:/dev/a", "5", "the device /dev/a"},
		"GPUs":                 {"devices:\n- nvidia.com/gpu=0\n- nvidia.com/gpu=0", "5", "the device nvidia.com/gpu=0"},
		"ports":                {"ports:\n- 80:80\n- 80:80", "5", "the port 80:80"},
		"expose":               {"expose:\n- 80\n- '80'", "5", "the exposed port 80"},
		"secrets":              {"secrets:\n- a\n- {source: b, target: a}", "5", "the target /run/secrets/a"},
		"secret and mount":     {"secrets:\n- a\nvolumes:\n- /a:/run/secrets/a", "4", "line 6 (volumes)"},
		"secrets and mount":    {"secrets: [a]\nvolumes:\n- /a:/run/secrets", "3", "the target /run/secrets is taken already, in line 5 (volumes)"},
		"secrets and tmpfs":    {"secrets: [a]\ntmpfs: [/run/secrets]", "3", "line 4 (tmpfs)"},
		"shm and mount":        {"shm_size: 1g\nvolumes:\n- /dev/shm:/dev/shm", "3", "shm_size: the target /dev/shm is taken already, in line 5 (volumes)"},
		"privileges":           {"security_opt:\n- no-new-privileges:true\n- no-new-privileges:false", "5", "the option no-new-privileges"},
		"capabilities":         {"cap_add:\n- SYS_PTRACE\n- CAP_SYS_PTRACE", "5", "the capability SYS_PTRACE"},
		"files of variables":   {"env_file:\n- a.env\n- b.env\n- ./a.env", "6", "the file a.env"},
		"fields of two":        {"extends: base\ntmpfs: /base", "4", ""},
		"a mount of another's": {"extends: base\nvolumes: [/b:/base]", "", ""},
		"all of another's":     {"extends: base\nenvironment: [A=2]\nlabels: [a=2]\nsecrets: [{source: b, target: a}]\ntmpfs: /t:size=2m\nports: ['80:80']\ncap_add: [SYS_PTRACE]", "", ""},
		"one below another":    {"volumes: [/b:/x/y, /a:/x]\ntmpfs: /x/y/z", "", ""},
		"one port, two ways":   {"ports: ['1:80', '2:80', 80]\nexpose: [80]", "", ""},
	} {
		base := "  base:\n    volumes: [/a:/base]\n    environment: [A=1]\n    labels: [a=1]\n    secrets: [a]\n    tmpfs: /t\n    ports: ['80:80']\n    cap_add: [SYS_PTRACE]\n"
		_, err := resolveText(t, service(c.text)+base+files, map[string]string{"HERE": "h"})
		if c.second == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if said := keyway.AsError(err); !keyway.Is(err, keyway.BadConfig) || !strings.Contains(said.Message, ".yaml:"+c.second+": ") || !strings.Contains(said.Message, c.says) || said.Next != "keep one of the two" {
			t.Errorf("%s: %v", name, said)
		}
	}
}

// TestPlatform checks the architecture that a platform stands for.
func TestPlatform(t *testing.T) {
	for given, want := range map[string]string{
		"''": "", "linux": "", "linux/amd64": "amd64", "amd64": "amd64", "linux/x86_64": "amd64", "linux/AMD64": "amd64", "Linux/Arm64/V8": "arm64", "X86_64": "amd64", "linux/arm64/v8": "arm64", "aarch64": "arm64", "linux/arm/v7": "arm", "${P:-linux/arm64}": "arm64",
	} {
		if a, err := resolveText(t, service("image: i\nplatform: "+given), nil); err != nil || a.Arch != want {
			t.Errorf("%s: %q, %v", given, a.Arch, err)
		}
	}
}

// TestAnEmptySetupIsNone checks that a setup without a command starts no job.
func TestAnEmptySetupIsNone(t *testing.T) {
	for _, setup := range []string{"''", "", "' '", "|\n      \n", `"\n\t\n"`, "${NOT_HERE:-}"} {
		a, err := resolveText(t, service("image: i\nx-keyway:\n  setup: "+setup), nil)
		if want := strings.Contains(setup, "$"); err != nil || (a.Setup != "") != want {
			t.Errorf("%s: %q, %v", setup, a.Setup, err)
		}
	}
}

// TestASetupIsItsShells checks that a $ in a script is not filled in from the laptop.
func TestASetupIsItsShells(t *testing.T) {
	const script = "echo $HOME ${NOT_HERE} $$ $(id -u)"
	a, err := resolveText(t, service("image: i\nx-keyway: {setup: '"+script+"'}\nx-mine: ${NOT_HERE}"), nil)
	if err != nil || a.Setup != script || len(a.Variables) != 0 {
		t.Errorf("%q, %q, %v", a.Setup, a.Variables, err)
	}
}

func TestManyProblemsAtOnce(t *testing.T) {
	_, err := resolveText(t, service("imge: i\nrestart: always\ngpu: all"), nil)
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("%v", err)
	}
}

// TestBounds checks files that would become large when they are resolved.
func TestBounds(t *testing.T) {
	bomb := "x-0: &a0 [lol]\n"
	for i := range 12 {
		n := string(rune('0' + i%10))
		from, to := "a"+strings.Repeat("x", i/10)+n, "a"+strings.Repeat("x", (i+1)/10)+string(rune('0'+(i+1)%10))
		bomb += "x-" + to + ": &" + to + " [" + strings.TrimSuffix(strings.Repeat("*"+from+", ", 9), ", ") + "]\n"
	}
	for name, text := range map[string]string{
		"anchors":         bomb + service("image: i"),
		"10 MB":           "x-a: &a [" + strings.Repeat("lol, ", 2<<20) + "]\n" + service("image: i"),
		"inside itself":   "x-a: &a [*a]\n" + service("image: i"),
		"merge of itself": "x-a: &a\n  <<: *a\n" + service("image: i"),
		"deep":            "x-a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "\n" + service("image: i"),
		"empty":           "",
		"a list":          "- services",
		"two documents":   service("image: i") + "---\n" + service("image: j"),
		"include":         "include: [keyway.yaml]\n" + service("image: i"),
		"ports":           service("ports: ['1-65535']"),
	} {
		began := time.Now()
		_, err := resolveText(t, text, nil)
		if !keyway.Is(err, keyway.BadConfig) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

func TestAnchorsAndExtends(t *testing.T) {
	a, err := resolveText(t, `
x-base: &base
  image: base
  shm_size: 1g
services:
  common:
    environment: {A: "1", B: "1"}
    x-keyway: {forward_agent: true}
  train:
    <<: *base
    image: mine
    extends: common
    environment: {B: "2"}
  other:
    restart: always
    depends_on: [train]
`, nil)
	if err != nil || a.Spec.Image != "mine" || a.Spec.ShmSize != 1<<30 || !reflect.DeepEqual(a.Spec.Env, map[string]string{"A": "1", "B": "2"}) || !a.Spec.ForwardAgent {
		t.Errorf("%+v, %v", a.Spec, err)
	}
}

// TestTheNearestOfAMergeCounts checks that a mapping's own keys take precedence over those of <<,
// and a service's own settings over those of the service that it extends, field by field, also in
// x-keyway.
func TestTheNearestOfAMergeCounts(t *testing.T) {
	a, err := resolveText(t, `
x-far: &far {home: far, as: image, setup: far, override: {gpus: 9}}
x-near: &near
  <<: *far
  setup: near
  extensions: [a.b]
x-limits: &limits {gpus: 8, user: true, command: true, environment: [ANY]}
services:
  base:
    image: i
    x-keyway: *near
  common:
    extends: base
    x-keyway: {override: {shm_size: 1g, cpus: 2}}
  train:
    extends: common
    x-keyway:
      setup: mine
      override: {<<: *limits, gpus: 2, user: false}
`, nil)
	want := compose.Extension{As: "image", Home: "far", Setup: "mine", Extensions: []string{"a.b"}}
	want.Override = catalogue.Override{GPUs: 2, CPUs: 2, ShmSize: 1 << 30, Env: []string{"ANY"}, Free: []string{catalogue.FreeCommand}}
	if err != nil || !reflect.DeepEqual(a.Extension, want) || a.Spec.HomeVolume != "far" || a.Spec.Caller {
		t.Errorf("%+v, want %+v, %v", a.Extension, want, err)
	}
}

// TestARepositoryIsConfined checks that a template of another author does not choose which files of
// the laptop go to the place.
func TestARepositoryIsConfined(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "id_ed25519")
	write(t, secret, "KEY=private\n")
	for name, lines := range map[string]string{
		"absolute":      "env_file: " + secret,
		"upwards":       "env_file: ../" + filepath.Base(filepath.Dir(secret)) + "/id_ed25519",
		"home":          "env_file: ~/.ssh/id_ed25519",
		"symbolic link": "env_file: link",
		"secret":        "secrets: [s]",
		"linked .env":   "image: ${KEY}",
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "keyway.yaml"), service(lines)+"secrets: {s: {file: "+secret+"}}\n")
		link := "link"
		if name == "linked .env" {
			link = ".env"
		}
		if err := os.Symlink(secret, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
		if _, err := resolveIn(t, dir, nil); !keyway.Is(err, keyway.BadConfig) || !strings.Contains(err.Error(), "below its own directory") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAFileOfEverybodysIsRefused checks that a compose.yaml in a directory like /tmp, which may be
// anybody's, is refused.
func TestAFileOfEverybodysIsRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "compose.yaml")
	write(t, file, service("image: i"))
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := resolveIn(t, dir, nil); !keyway.Is(err, keyway.BadConfig) || !strings.Contains(err.Error(), "another user") {
		t.Errorf("%v", err)
	}
}

func TestFilesBesideATemplate(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "keyway.yaml"), service("image: ${IMAGE}\nenv_file: [a.env, {path: none.env, required: false}]\nenvironment: [B=mine]\nsecrets: [s, v]\nvolumes: ['./data:/data', 'named:/named']")+
		"secrets: {s: {file: ./token}, v: {environment: TOKEN}}\nvolumes: {named: {name: other}}\n")
	write(t, filepath.Join(dir, ".env"), "IMAGE=from-dot-env\nTOKEN=from-dot-env\n")
	write(t, filepath.Join(dir, "a.env"), "A=1\nB=2\nC=${IMAGE}\n")
	write(t, filepath.Join(dir, "token"), "s3cret")
	a, err := resolveIn(t, dir, map[string]string{"TOKEN": "from-laptop"})
	if err != nil {
		t.Fatal(keyway.AsError(err))
	}
	want := keyway.Spec{
		Image: "from-dot-env",
		Files: keyway.Files{
			Mounts:  []keyway.Mount{{Source: filepath.Join(dir, "data"), Target: "/data"}, {Kind: keyway.MountVolume, Source: "other", Target: "/named"}},
			Secrets: []keyway.Secret{{Name: "s", Value: []byte("s3cret")}, {Name: "v", Value: []byte("from-laptop")}},
		},
		Process: keyway.Process{Caller: true, Env: map[string]string{"A": "1", "B": "mine", "C": "from-dot-env"}},
	}
	if !reflect.DeepEqual(normal(a.Spec), want) {
		t.Errorf("got %+v\nwant %+v", a.Spec, want)
	}
	if !reflect.DeepEqual(a.Variables, []string{"IMAGE", "TOKEN"}) {
		t.Errorf("told are the variables %q", a.Variables)
	}
}

// TestVariablesOfAnEnvFile checks that the text behind a $ in a password is not dropped silently.
func TestVariablesOfAnEnvFile(t *testing.T) {
	for text, want := range map[string]string{
		"A=pa$word":                    "",
		"A=\"${NONE}\"":                "",
		"A=${NONE:?say}":               "",
		"A='pa$word'":                  "pa$word",
		"A=pa$$word":                   "pa$word",
		"A=${NONE:-d}${HERE}${NONE+e}": "dh",
		"B=1\nA=${B}2":                 "12",
		"A=a # $NONE\nNONE_HERE":       "a",

		"A=${DB:-postgres://u:pa$word@h}": "", // within a default or an alternative
		"A=${NONE:-${NONE}}":              "",
		"A=${HERE:+$NONE}":                "",
		"A=pa$B\nB=1":                     "", // no line before has it
		"A=$TOKEN\nTOKEN":                 "",
		"B=pa$word\nA=$B":                 "",
		"# or $NONE\nA=${NONE:-/cache}":   "/cache", // no word of another value
		"B='$NONE'\nA=${NONE:-d}":         "d",
		"B=$$NONE\nA=${NONE:-d}":          "d",
		"B='$A ${x'\nA=\"\\$x$B\"":        "$x$A ${x",
		"A=a$1-$'$":                       "a$1-$'$",
		"A=\\$HERE\nHERE":                 "\\h",
		"B=pa$word\nB=1\nA=\"x\n$B\" # '": "x\n1",
		"\ufeffexport A: b\r\n":           "b",
		doubling + "A=$B":                 "",
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "keyway.yaml"), service("image: i\nenv_file: a.env"))
		write(t, filepath.Join(dir, "a.env"), text+"\n")
		a, err := resolveIn(t, dir, map[string]string{"HERE": "h"})
		switch said := keyway.AsError(err); {
		case want != "" && (err != nil || a.Spec.Env["A"] != want || a.Spec.Env["NONE_HERE"] != ""):
			t.Errorf("%q: %q, %v", text, a.Spec.Env, err)
		case want == "" && (!keyway.Is(err, keyway.BadConfig) || !strings.Contains(said.Message, "keyway.yaml:4: env_file: a.env")):
			t.Errorf("%q: %q, %v", text, a.Spec.Env, err)
		}
	}
}

// doubling gives B a value of 128 MiB.
var doubling = "B=xxxxxxxx\n" + strings.Repeat("B=$B$B\n", 24)

// TestALongValueUsedOften checks that the memory of a template is bounded, however often it uses a
// value.
func TestALongValueUsedOften(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".env"), "A="+strings.Repeat("x", 1<<19)+"\n")
	for use, want := range map[string]string{
		"environment: ['P=$A$A']":                               "",
		"environment: ['P=" + strings.Repeat("$A", 99) + "']":   variables.ErrTooMuch.Error(),
		"environment: [" + strings.Repeat("'P=$A', ", 99) + "]": variables.ErrTooMuch.Error(),
		"secrets: [a]\nsecrets: {a: {environment: A}}":          "secrets: a: the variable A has over 64 KiB",
	} {
		inner, top, _ := strings.Cut(use, "\n")
		write(t, filepath.Join(dir, "keyway.yaml"), service("image: i\n"+inner)+top+"\n")
		_, err := resolveIn(t, dir, nil)
		if (err == nil) != (want == "") || err != nil && (!keyway.Is(err, keyway.BadConfig) || !strings.Contains(err.Error(), "keyway.yaml:4: ") || !strings.HasSuffix(err.Error(), want)) {
			t.Errorf("%.60q: %.300v, want %q", use, err, want)
		}
	}
}

// TestVariablesOfDotEnv checks that an unset variable in a value of .env is an error where that
// value is used.
func TestVariablesOfDotEnv(t *testing.T) {
	for text, want := range map[string]string{
		"A=pa$word":           "",
		"A=${X:-pa$word}":     "",
		"B=pa$word\nA=$B":     "",
		"A=${":                "",
		"A='pa$word'":         "pa$word",
		"B=pa$word\nA=b":      "b",
		"HERE=$word\nA=$HERE": "h",
		doubling + "A=$B":     "",
		"A=b\n" + doubling:    "b",
	} {
		for _, use := range []string{"environment: {P: '${A}'}", "environment: {P: '${A:-d}'}", "environment: [A]", "env_file: a.env"} {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "keyway.yaml"), service("image: i\n"+use))
			write(t, filepath.Join(dir, ".env"), text+"\n")
			write(t, filepath.Join(dir, "a.env"), "P=${A}\n")
			a, err := resolveIn(t, dir, map[string]string{"HERE": "h"})
			switch said := keyway.AsError(err); {
			case want != "" && (err != nil || a.Spec.Env["P"]+a.Spec.Env["A"] != want):
				t.Errorf("%q, %s: %q, %v", text, use, a.Spec.Env, err)
			case want == "" && (!keyway.Is(err, keyway.BadConfig) || !strings.Contains(said.Message, filepath.Join(dir, ".env")+": ")):
				t.Errorf("%q, %s: %q, %v", text, use, a.Spec.Env, err)
			}
		}
	}
}

// TestALaptopsDirectory checks that a directory of the laptop cannot be mounted at another place.
func TestALaptopsDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "keyway.yaml"), service("volumes: ['./data:/data']"))
	found, err := Finder{Dir: dir}.Find("train")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := found.Resolve(compose.Where{Lookup: os.LookupEnv}); !keyway.Is(err, keyway.BadConfig) || !strings.Contains(err.Error(), "directory of this laptop") {
		t.Errorf("%v", err)
	}
}

func TestWhichWins(t *testing.T) {
	root := t.TempDir()
	work, mine := filepath.Join(root, "a", "b", "c"), filepath.Join(root, "mine")
	write(t, filepath.Join(work, "file"), "")
	for path, image := range map[string]string{"a/compose.yaml": "far", "a/b/compose.yaml": "near", "a/b/keyway.yaml": "nearest"} {
		write(t, filepath.Join(root, path), "services: {train: {image: "+image+"}, "+image+": {image: i}}\n")
	}
	write(t, filepath.Join(mine, "x.yaml"), "services: {train: {image: mine}, pytorch: {image: mine}}\n")
	f := Finder{Dir: work, Mine: mine, Home: root}
	all, problems := f.List()
	var got []string
	for _, t := range all {
		got = append(got, t.Name+"/"+string(t.Source))
	}
	want := []string{"train/repository", "nearest/repository", "train/mine", "pytorch/mine", "pytorch/built in", "pytorch-cu118/built in", "jupyter/built in", "base/built in"}
	if !reflect.DeepEqual(got, want) || len(problems) > 0 {
		t.Errorf("got %q, %v", got, problems)
	}
	if found, err := f.Find("pytorch"); err != nil || found.Source != Mine {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err := f.Find("pytroch"); !strings.Contains(keyway.AsError(err).Help(), "meant-template pytorch") {
		t.Errorf("%v", keyway.AsError(err))
	}
	// A repository's root and the home directory end the walk.
	f.Dir = filepath.Join(work, "d")
	write(t, filepath.Join(work, ".git"), "")
	write(t, filepath.Join(f.Dir, "file"), "")
	if found, err := f.Find("train"); err != nil || found.Source != Mine {
		t.Errorf("beyond the repository: %+v, %v", found, err)
	}
}

func TestBuiltInTemplatesResolve(t *testing.T) {
	all, problems := Finder{}.List()
	if len(problems) > 0 || len(all) != 4 {
		t.Fatalf("%v, %v", all, problems)
	}
	for _, b := range all {
		a, err := b.Resolve(compose.Where{Lookup: func(string) (string, bool) { return "", false }})
		if err != nil || a.Spec.Image == "" {
			t.Errorf("%s: %+v, %v", b.Name, a, err)
		}
	}
}

func FuzzResolve(f *testing.F) {
	f.Add([]byte(service("image: i\nenvironment: {A: ${B:-c}}\nvolumes: [/a:/b]\nports: ['80:80']\ngpus: all")))
	f.Add([]byte("x-a: &a {b: 1}\nservices: {train: {<<: *a, extends: train}}"))
	f.Add([]byte("services: {train: {deploy: {resources: {limits: {cpus: 1}}}, ulimits: {a: 1}, x-keyway: {as: image}}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := document.Parse("fuzz.yaml", data)
		if err != nil {
			return
		}
		a, err := Template{Name: "train", Source: BuiltIn, File: "fuzz.yaml", doc: d}.Resolve(compose.Where{Lookup: func(string) (string, bool) { return "", false }})
		if err != nil {
			if said := keyway.AsError(err); said.Kind == keyway.Other || !strings.Contains(said.Message, "fuzz.yaml") {
				t.Errorf("it says: %v", err)
			}
			return
		}
		a.Spec.Name, a.Spec.AuthorizedKeys = "x", []string{"key"}
		if err := a.Spec.Validate(); err != nil {
			t.Errorf("the Spec is refused: %v", err)
		}
	})
}

func BenchmarkResolve(b *testing.B) {
	all, _ := Finder{}.List()
	for b.Loop() {
		if _, err := all[0].Resolve(compose.Where{Lookup: os.LookupEnv}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNoNamedPipeIsWaitedFor checks that nothing waits for the writer of a named pipe that a
// repository has where a file is read.
func TestNoNamedPipeIsWaitedFor(t *testing.T) {
	for path, text := range map[string]string{
		"keyway.yaml":                     "",
		"compose.yaml":                    "",
		".devcontainer/devcontainer.json": "",
		"vars.env":                        service("image: x\nenv_file: vars.env"),
	} {
		dir := t.TempDir()
		if text != "" {
			write(t, filepath.Join(dir, "keyway.yaml"), text)
		}
		pipe := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(pipe), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { _, err := resolveIn(t, dir, nil); done <- err }()
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("%s: it was read", path)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s is waited for", path)
		}
	}
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "train.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	found := make(chan error, 1)
	go func() {
		_, err := Finder{Dir: t.TempDir(), Mine: dir}.Find("train")
		found <- err
	}()
	select {
	case err := <-found:
		if err == nil {
			t.Error("a user's own template: it was read")
		}
	case <-time.After(time.Minute):
		t.Fatal("a user's own template is waited for")
	}
}
