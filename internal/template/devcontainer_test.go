//go:build unix

package template

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"keyway/internal/keyway"
	"keyway/internal/template/compose"
	"keyway/internal/template/devcontainer"
	"keyway/internal/template/document"
)

// container resolves a devcontainer.json.
func container(t *testing.T, text string, env map[string]string) (compose.Asked, []devcontainer.Left, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".devcontainer", "devcontainer.json"), text)
	found, err := Finder{Dir: dir}.Find(devcontainer.Name)
	if err != nil {
		return compose.Asked{}, nil, err
	}
	a, err := found.Resolve(compose.Where{Local: true, Home: "/home/ada", Lookup: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
	return a, found.Left, err
}

// TestDevcontainerSettings checks settings one by one: they make the same workspace as the same
// words in a Compose file.
func TestDevcontainerSettings(t *testing.T) {
	for settings, compose := range map[string]string{
		`"containerEnv": {"A": "1", "B": "${localEnv:USER}"}`:                          "environment: {A: \"1\", B: \"${USER}\"}",
		`"remoteEnv": {"A": "price: $5", "C": "${localEnv:NONE:none}"}`:                "environment: {A: \"price: $$5\", C: \"none\"}",
		`"containerUser": "root", "remoteUser": "vscode"`:                              "user: vscode",
		`"workspaceFolder": "/work"`:                                                   "working_dir: /work",
		`"capAdd": ["SYS_PTRACE"], "securityOpt": ["no-new-privileges:false"]`:         "cap_add: [SYS_PTRACE]\nsecurity_opt: [\"no-new-privileges:false\"]",
		`"mounts": ["source=/data,target=/mnt/data,type=bind,readonly"]`:               "volumes: [{type: bind, source: /data, target: /mnt/data, read_only: true}]",
		`"mounts": [{"type": "tmpfs", "target": "/scratch"}]`:                          "volumes: [{type: tmpfs, target: /scratch}]",
		`"forwardPorts": [6006, "8888"], "appPort": 8080`:                              "expose: [\"6006\", \"8888\", \"8080\"]",
		`"hostRequirements": {"gpu": true}`:                                            "gpus: all",
		`"runArgs": ["--gpus", "2", "--shm-size=2gb", "--init"]`:                       "gpus: [{count: 2}]\nshm_size: 2gb\ninit: true",
		`"runArgs": ["--gpus=device=0,1"]`:                                             "gpus: [{device_ids: [\"0\", \"1\"]}]",
		`"runArgs": ["--ulimit", "memlock=-1", "-e", "A=x=y", "--cpus", "2"]`:          "ulimits: {memlock: {soft: -1, hard: -1}}\nenvironment: {A: x=y}\ncpus: 2",
		`"runArgs": ["--mount", "source=/data,target=/d,type=bind", "-m", "1g"]`:       "volumes: [{type: bind, source: /data, target: /d}]\nmem_limit: 1g",
		`"runArgs": ["-e", "USER", "--env", "NOT_HERE", "--gpus", "0"]`:                "environment: [USER, NOT_HERE]",
		`"containerEnv": {"A": "\ud83d\ude00 \/ \u0024 \"q\" \n"}`:                     "environment: {A: \"😀 / $$ \\\"q\\\" \\n\"}",
		`"postCreateCommand": null, "onCreateCommand": "", "updateContentCommand": []`: "",
		`"mounts": ["type=bind,source=/d,target=/d,readonly=0"]`:                       "volumes: [{type: bind, source: /d, target: /d}]",
		`"runArgs": ["--gpus", "1"], "hostRequirements": {"gpu": true}`:                "gpus: [{count: 1}]",
		`"customizations": {"vscode": {"extensions": ["ms-python.python"]}}`:           "x-keyway: {extensions: [ms-python.python]}",
		`"onCreateCommand": "pip install x", "postCreateCommand": ["echo", "a b"]`:     "x-keyway: {setup: \"set -e\\n(pip install x\\n)\\n('echo' 'a b'\\n)\\n\"}",
		`"postCreateCommand": {"one": "a", "two": ["b"]}`:                              "x-keyway: {setup: \"set -e\\n(a\\n)\\n('b'\\n)\\n\"}",
		`"overrideCommand": true, "privileged": false, "name": "Training"`:             "",
		`"forwardPorts": [8888, 8888], "appPort": [8888, "6006"]`:                      "expose: [\"8888\", \"6006\"]",
		`"runArgs": ["--cap-add=CAP_SYS_PTRACE"], "capAdd": ["SYS_PTRACE"]`:            "cap_add: [SYS_PTRACE]",
		`"runArgs": ["--device=/dev/fuse", "--device", "/dev/fuse"]`:                   "devices: [/dev/fuse]",
		// GPUs in each of docker's forms
		`"runArgs": ["--gpus", "all"]`:                                  "gpus: all",
		`"runArgs": ["--gpus", "\"device=0,2\""]`:                       `gpus: [{device_ids: ["0", "2"]}]`,
		`"runArgs": ["--gpus='\"device=0,2\"'"]`:                        `gpus: [{device_ids: ["0", "2"]}]`,
		`"runArgs": ["--gpus", "device=GPU-5f1c,capabilities=utility"]`: "gpus: [{device_ids: [GPU-5f1c]}]",
		`"runArgs": ["--gpus", "count=2"]`:                              "gpus: [{count: 2}]",
		`"runArgs": ["--gpus", "driver=nvidia,count=all"]`:              "gpus: all",
		`"runArgs": ["--gpus=capabilities=compute"]`:                    "gpus: [{count: 1}]",
		`"runArgs": ["--gpus", "device=MIG-c6d4"]`:                      "gpus: [{device_ids: [MIG-c6d4]}]",
		`"runArgs": ["--gpus", "device=0:1"]`:                           `gpus: [{device_ids: ["0:1"]}]`,
		`"runArgs": ["--gpus", "${localEnv:NONE:all}"]`:                 "gpus: all",
		`"runArgs": ["--gpus", "${localEnv:NONE:2}"]`:                   "gpus: [{count: 2}]",
		`"runArgs": ["--device", "nvidia.com/gpu=all"]`:                 "gpus: all",
		`"runArgs": ["--device=nvidia.com/gpu=1"]`:                      "devices: [nvidia.com/gpu=1]",
		`"hostRequirements": {"gpu": false}`:                            "",
		`"hostRequirements": {"gpu": {}}`:                               "gpus: all",
		// arguments of docker run
		`"runArgs": ["--pids-limit", "-1", "-it", "--init", "-u1000", "-m=1g"]`:      "pids_limit: -1\nuser: \"1000\"\nmem_limit: 1g",
		`"runArgs": ["-eA=b", "-e=C=d", "--rm=false", "--privileged=false"]`:         "environment: {A: b, C: d}",
		`"runArgs": ["--read-only", "--label", "team=vision", "-l", "a"]`:            "read_only: true\nlabels: {team: vision, a: \"\"}",
		`"runArgs": ["-v", "/data:/mnt/data:ro,cached", "--volume=/x"]`:              "volumes: [\"/data:/mnt/data:ro\", /x]",
		`"runArgs": ["-v=${localEnv:NONE:/data}/a:/b"]`:                              "volumes: [\"/data/a:/b\"]",
		`"runArgs": ["-v", "~/data:/b"]`:                                             "volumes: [\"~/data:/b\"]",
		`"runArgs": ["--ulimit=memlock=-1:-1", "--shm-size", "8g", "--ipc=private"]`: "ulimits: {memlock: {soft: -1, hard: -1}}\nshm_size: 8g",
		`"runArgs": ["--tmpfs", "/run:size=1m,nosuid", "--network", "bridge"]`:       "tmpfs: [\"/run:size=1m\"]",
		`"runArgs": ["--platform=linux/amd64"]`:                                      "platform: linux/amd64",
		// mounts
		`"mounts": [{"type": "bind", "source": "/d", "target": "/d", "readonly": true}]`:                                      "volumes: [\"/d:/d:ro\"]",
		`"mounts": ["type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777"]`:                                                       "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1m}}]",
		`"mounts": ["type=bind,src=/d,destination=/d,consistency=cached,bind-propagation=rprivate,ro"]`:                       "volumes: [\"/d:/d:ro\"]",
		`"mounts": ["source=/d/${localEnv:USER},target=${containerWorkspaceFolder}/d,type=bind"], "workspaceFolder": "/work"`: "volumes: [\"/d/ada:/work/d\"]\nworking_dir: /work",
		`"mounts": [{"type": "volume", "target": "/v"}]`:                                                                      "volumes: [/v]",
		// variables
		`"workspaceFolder": "/work/${localEnv:USER}", "containerEnv": {"A": "${containerWorkspaceFolder}/b", "B": "x"}`: "working_dir: /work/ada\nenvironment: {A: /work/ada/b, B: x}",
		`"containerEnv": {"A": "x"}, "remoteEnv": {"B": "${containerEnv:A}:y", "C": "${localEnv:NONE:a b}"}`:            "environment: {A: x, B: \"x:y\", C: a b}",
		`"containerEnv": {"A": "${localEnv:NONE:}", "B": "$HOME ${localEnv:USER}$"}`:                                    "environment: {A: \"\", B: \"$$HOME ada$$\"}",
		// commands
		`"workspaceFolder": "/w", "postCreateCommand": "cd ${containerWorkspaceFolder} && echo $HOME ${A:-b}"`:                 "working_dir: /w\nx-keyway: {setup: \"set -e\\n(cd /w && echo $HOME ${A:-b}\\n)\\n\"}",
		`"workspaceFolder": "/w", "onCreateCommand": {"a": ["ls", "${containerWorkspaceFolder}"], "b": "true"}`:                "working_dir: /w\nx-keyway: {setup: \"set -e\\n('ls' '/w'\\n)\\n(true\\n)\\n\"}",
		`"features": {}, "portsAttributes": {}, "postStartCommand": "", "shutdownAction": "none", "updateRemoteUserUID": true`: "",
		`"postCreateCommand": "echo ${localEnv:USER} $USER ${localEnv:NONE:a b}"`:                                              "x-keyway: {setup: \"set -e\\n(echo ada $USER a b\\n)\\n\"}",
		`"onCreateCommand": ["echo", "${localEnv:QUOTED} $x"], "postCreateCommand": "${localEnv:EMPTY}"`:                       "x-keyway: {setup: \"set -e\\n('echo' 'it'\\\\''s $HOME $x'\\n)\\n\"}",
		`"workspaceFolder": "/w/p/", "postCreateCommand": "ls ${containerWorkspaceFolderBasename}"`:                            "working_dir: /w/p/\nx-keyway: {setup: \"set -e\\n(ls p\\n)\\n\"}",
		`"workspaceFolder": "/w/${localEnv:NONE:a/b}/$c/", "containerEnv": {"A": "${containerWorkspaceFolderBasename}"}`:       "working_dir: /w/a/b/$$c/\nenvironment: {A: $$c}",
		`"runArgs": ["-iu1000", "-itv/a:/b", "-tie", "A=b", "-qw=/w"]`:                                                         "user: \"1000\"\nvolumes: [\"/a:/b\"]\nenvironment: {A: b}\nworking_dir: /w",
		`"appPort": ["8000:80", 81]`: "expose: [\"80\", \"81\"]",
	} {
		env := map[string]string{"USER": "ada", "QUOTED": "it's $HOME", "EMPTY": ""}
		got, left, err := container(t, "{\n// what is trained\n\"image\": \"i:1\", /* , */ "+settings+",\n}", env)
		if err != nil || len(left) > 0 {
			t.Errorf("%s: %v, left %v", settings, err, left)
			continue
		}
		want, err := resolveText(t, service("image: i:1\n"+compose), env)
		if err != nil {
			t.Fatal(compose, err)
		}
		if !reflect.DeepEqual(got.Spec, want.Spec) || got.Arch != want.Arch || got.Setup != want.Setup || !slices.Equal(got.Extensions, want.Extensions) {
			t.Errorf("%s:\n%+v %q\nwant\n%+v %q", settings, got.Spec, got.Setup, want.Spec, want.Setup)
		}
	}
}

// TestDevcontainerVolume checks that a volume belongs to the user, as one of a Compose file does.
func TestDevcontainerVolume(t *testing.T) {
	for settings, name := range map[string]string{
		`"mounts": ["source=cache,target=/cache,type=volume"]`:                                          "cache",
		`"mounts": ["source=${localEnv:USER}-cache,target=/cache,type=volume"]`:                         "ada-cache",
		`"mounts": [{"source": "cache-${localEnv:NONE:x}", "target": "/cache"}]`:                        "cache-x",
		`"runArgs": ["-v", "cache:/cache"]`:                                                             "cache",
		`"workspaceFolder": "/w/p", "mounts": ["src=${containerWorkspaceFolderBasename}-c,dst=/cache"]`: "p-c",
	} {
		a, left, err := container(t, `{"image": "i", `+settings+`}`, map[string]string{"USER": "ada"})
		if err != nil || len(left) > 0 || len(a.Spec.Mounts) != 1 || a.Spec.Mounts[0].Kind != keyway.MountVolume || a.Spec.Mounts[0].Source != name {
			t.Errorf("%s: %+v, %v, %v", settings, a.Spec.Mounts, left, err)
		}
	}
	doc, left, err := devcontainer.Parse("/src/train/.devcontainer.json", []byte(`{"image": "i", "mounts": ["source=${localWorkspaceFolderBasename}-cache,target=/cache"]}`))
	if err != nil || len(left) > 0 || document.Field(document.Items(document.Field(document.Field(document.Field(doc.Root, "services"), devcontainer.Name), "volumes"))[0], "source").Value != "train-cache" {
		t.Errorf("%+v, %v", left, err)
	}
}

// TestDevcontainerLeft checks that every ignored setting is listed, with its line and a reason.
func TestDevcontainerLeft(t *testing.T) {
	for settings, want := range map[string]string{
		`"features": {"registry.example/features/git:1": {}}`: "features.registry.example/features/git:1",
		`"features": ["git"]`:                   "features",
		`"build": {"dockerfile": "Dockerfile"}`: "build",
		`"workspaceMount": "source=${localWorkspaceFolder},target=/w,type=bind"`: "workspaceMount",
		`"mounts": ["source=${localWorkspaceFolder},target=/w,type=bind"]`:       "mounts",
		`"mounts": ["source=/a,target=/w,type=bind,bind-propagation=shared"]`:    "mounts",
		`"containerEnv": {"P": "${containerEnv:PATH}:/x"}`:                       "containerEnv.P",
		`"remoteEnv": {"P": null}`:                                               "remoteEnv.P",
		`"workspaceFolder": "/w/${localWorkspaceFolderBasename}"`:                "workspaceFolder",
		`"forwardPorts": ["db:5432"]`:                                            "forwardPorts",
		`"hostRequirements": {"gpu": "optional"}`:                                "hostRequirements.gpu",
		`"hostRequirements": {"cpus": 8}`:                                        "hostRequirements.cpus",
		`"privileged": true`:                                                     "privileged",
		`"overrideCommand": false`:                                               "overrideCommand",
		`"postStartCommand": "x"`:                                                "postStartCommand",
		`"postCreateCommand": "ls ${containerWorkspaceFolder}"`:                  "postCreateCommand",
		`"initializeCommand": "rm -rf ~"`:                                        "initializeCommand",
		`"customizations": {"vscode": {"settings": {}}}`:                         "customizations.vscode.settings",
		`"securityOpt": ["seccomp=unconfined"]`:                                  "securityOpt",
		`"runArgs": ["--security-opt", "seccomp=unconfined"]`:                    "runArgs --security-opt",
		`"runArgs": ["--ipc=host"]`:                                              "runArgs --ipc",
		`"runArgs": ["--network", "host"]`:                                       "runArgs --network",
		`"runArgs": ["--gpus", "some"]`:                                          "runArgs --gpus",
		`"runArgs": ["--ulimit", "memlock"]`:                                     "runArgs --ulimit",
		`"invented": 1`:                                                          "invented",
		`"runArgs": ["-v", "${localWorkspaceFolder}:/w"]`:                        "runArgs -v",
		`"runArgs": ["-v", "./a:/w"]`:                                            "runArgs -v",
		`"runArgs": ["--volume=/a:/w:z"]`:                                        "runArgs --volume",
		`"runArgs": ["-p", "80:80"]`:                                             "runArgs -p",
		`"runArgs": ["--gpus", "capabilities=video"]`:                            "runArgs --gpus",
		`"runArgs": ["--gpus"]`:                                                  "runArgs --gpus",
		`"runArgs": ["--privileged"]`:                                            "runArgs --privileged",
		`"runArgs": ["--rm"]`:                                                    "runArgs --rm",
		`"runArgs": ["--runtime=nvidia"]`:                                        "runArgs --runtime",
		`"mounts": ["source=${devcontainerId}-a,target=/a"]`:                     "mounts",
		`"mounts": ["type=bind,source=/a,target=/b,readonly=maybe"]`:             "mounts",
		`"postCreateCommand": "echo ${devcontainerId}"`:                          "postCreateCommand",
		`"runArgs": ["-itp80:80"]`:                                               "runArgs -p",
		`"hostRequirements": {"gpu": 2}`:                                         "hostRequirements.gpu",
	} {
		a, left, err := container(t, "{\n\"image\": \"i\",\n"+settings+"\n}", nil)
		if err != nil || len(left) != 1 || left[0].Setting != want || left[0].Line != 3 || left[0].Why == "" {
			t.Errorf("%s: %+v, %v", settings, left, err)
		}
		if !reflect.DeepEqual(a.Spec, keyway.Spec{Image: "i", Access: a.Spec.Access, Resources: a.Spec.Resources, Process: a.Spec.Process}) || a.Setup != "" {
			t.Errorf("%s became %+v %q", settings, a.Spec, a.Setup)
		}
	}
}

// TestTheFoldersLastPart checks ${containerWorkspaceFolderBasename}: it has no value if a variable, whose
// value may have a slash, is in the last part.
func TestTheFoldersLastPart(t *testing.T) {
	for folder, want := range map[string]string{
		"/w/p": "p", "/w/p/": "p", "/w/p//": "p", "/": "/", "/w/${localEnv:N:a/b}/p$": "p$", "/w/$p": "$p", "/w/é": "é",
		"/w/${localEnv:N:a/b}": "", "/w/p-${localEnv:N:a}": "", "/w/${localEnv:N:a/b}/": "", "/w/${localWorkspaceFolderBasename}": "", "/w/${devcontainerId}": "",
	} {
		a, left, err := container(t, `{"image": "i", "workspaceFolder": "`+folder+`", "containerEnv": {"A": "${containerWorkspaceFolderBasename}"}}`, nil)
		listed := slices.ContainsFunc(left, func(l devcontainer.Left) bool { return l.Setting == "containerEnv.A" })
		if err != nil || a.Spec.Env["A"] != want || listed != (want == "") {
			t.Errorf("%s: %q, left %v, %v", folder, a.Spec.Env["A"], left, err)
		}
	}
}

// TestDevcontainerRefused checks that a file without an image is refused, with advice.
func TestDevcontainerRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"build": {"dockerfile": "D"}}`:                           "devcontainer.json:1: build",
		"{\n\"dockerComposeFile\": \"c.yml\", \"service\": \"s\"}": "devcontainer.json:2: it is about a service",
		`{}`:                                     "names no image",
		`[]`:                                     "no fields",
		`{"image": "i"`:                          "this is not",
		`{"image": "i", "user": 1, "runArgs": [`: "this is not",
		``:                                       "is empty",
		`{"image": "i", "mounts": [{"source": "../x", "type": "volume", "target": "/x"}]}`:                          "volume",
		`{"image": "i", "containerEnv": {"A": "${localEnv:UNSET}"}}`:                                                "UNSET is not set",
		"{\"image\": \"i\",\n\"postCreateCommand\": \"echo ${localEnv:UNSET}\"}":                                    "devcontainer.json:2: the variable UNSET is not set",
		`{"image": "i", "postCreateCommand": "` + strings.Repeat("${localEnv:N:0123456789abcdefghij}", 1900) + `"}`: "longer than 32 KiB",
		`{"image": "i", "postCreateCommand": "` + strings.Repeat("0123456789", 5000) + `"}`:                         "longer than 32 KiB",
		`{"image": "` + strings.Repeat("x", document.MaxFile) + `"}`:                                                "larger than",
	} {
		_, _, err := container(t, text, nil)
		if !keyway.Is(err, keyway.BadConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

// TestDevcontainerIsBounded checks that the memory for a file is bounded, however often it uses its
// own variables: reading it is the first step of every command that looks for a template.
func TestDevcontainerIsBounded(t *testing.T) {
	long := strings.Repeat("x", 16<<10)
	doubling := `"A0": "xxxxxxxx"`
	for i := range 24 {
		doubling += fmt.Sprintf(`, "A%d": "${containerEnv:A%d}${containerEnv:A%[2]d}"`, i+1, i)
	}
	for what, c := range map[string]struct{ settings, left string }{
		"a few":                      {`"containerEnv": {"A": "` + long + `"}, "remoteEnv": {"B": "${containerEnv:A}${containerEnv:A}"}`, ""},
		"variables of variables":     {`"containerEnv": {` + doubling + `}`, "containerEnv.A17"},
		"a variable":                 {`"containerEnv": {"A": "` + long + `"}, "remoteEnv": {"B": "` + strings.Repeat("${containerEnv:A}", 2000) + `"}`, "remoteEnv.B"},
		"the folder":                 {`"workspaceFolder": "/` + long + `", "remoteEnv": {"B": "` + strings.Repeat("${containerWorkspaceFolder}", 2000) + `"}`, "remoteEnv.B"},
		"the folder, in a command":   {`"workspaceFolder": "/` + long + `", "postCreateCommand": "` + strings.Repeat("${containerWorkspaceFolder}", 2000) + `"`, "postCreateCommand"},
		"the folder, in its command": {`"workspaceFolder": "/` + long + `", "postCreateCommand": ["` + strings.Repeat(`${containerWorkspaceFolder}", "`, 2000) + `"]`, "postCreateCommand"},
	} {
		doc, left, err := devcontainer.Parse("devcontainer.json", []byte(`{"image": "i", `+c.settings+`}`))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		size := 0
		var measure func(*yaml.Node)
		measure = func(n *yaml.Node) {
			size += len(n.Value)
			for _, each := range n.Content {
				measure(each)
			}
		}
		if measure(doc.Root); size > 3*document.MaxFile {
			t.Errorf("%s: it has %d bytes", what, size)
		}
		if (c.left == "") != (len(left) == 0) || len(left) > 0 && left[0].Setting != c.left {
			t.Errorf("%s: left out: %.300v", what, left)
		}
	}
}

// TestDevcontainerOfManyVariables checks that the use of a variable does not cost more the more there
// are: memory that is used and given back stands for the time.
func TestDevcontainerOfManyVariables(t *testing.T) {
	var text strings.Builder
	text.WriteString(`{"image": "i", "containerEnv": {"A": "x"`)
	for i := range 2000 {
		fmt.Fprintf(&text, `, "B%d": "%s"`, i, strings.Repeat("${containerEnv:A}", 5))
	}
	text.WriteString("}}")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, left, err := devcontainer.Parse("devcontainer.json", []byte(text.String()))
	runtime.ReadMemStats(&after)
	if err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 500 { // about 100, and a list of all at each use makes 1,400
		t.Errorf("it takes %d MiB", used)
	}
}

// TestDevcontainerOfEverybody checks that a file that others may write to is refused, as a Compose
// file is, and that a Compose file's own service of that name takes precedence.
func TestDevcontainerOfEverybody(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, ".devcontainer.json")
	write(t, file, `{"image": "theirs"}`)
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := (Finder{Dir: dir}).Find(devcontainer.Name); !keyway.Is(err, keyway.BadConfig) || !strings.Contains(err.Error(), "another user") {
		t.Errorf("%v", err)
	}
	write(t, filepath.Join(dir, "keyway.yaml"), "services: {devcontainer: {image: mine}}")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	found, err := Finder{Dir: dir}.Find(devcontainer.Name)
	if err != nil || filepath.Base(found.File) != "keyway.yaml" {
		t.Errorf("%+v, %v", found, err)
	}
}

func FuzzDevcontainer(f *testing.F) {
	f.Add([]byte(`{"image": "i", /* a */ "mounts": ["source=a,target=/b,type=volume"], "runArgs": ["--gpus", "all"], }`))
	f.Add([]byte("{\"image\": \"i//\\\"\", // x\n\"postCreateCommand\": {\"a\": [\"b\"]}}"))
	f.Add([]byte(`{"image": &a "i", "containerEnv": {"A": *a, "B": "${localEnv:HOME}$"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, left, err := devcontainer.Parse("devcontainer.json", data)
		if err != nil {
			if !keyway.Is(err, keyway.BadConfig) {
				t.Errorf("%v", err)
			}
			return
		}
		for _, l := range left {
			if l.Why == "" {
				t.Errorf("%+v has no reason", l)
			}
		}
		_, err = Template{Name: devcontainer.Name, Source: Repository, doc: doc, dir: "/nowhere"}.Resolve(compose.Where{Lookup: func(string) (string, bool) { return "v", true }})
		if err != nil && !keyway.Is(err, keyway.BadConfig) && !keyway.Is(err, keyway.Usage) {
			t.Errorf("%v", err)
		}
	})
}

// TestDevcontainerAsksTwice checks that two mounts at one target are an error that names both
// lines.
func TestDevcontainerAsksTwice(t *testing.T) {
	_, _, err := container(t, "{\"image\": \"i\", \"mounts\": [\n\"source=/a,target=/x,type=bind\",\n{\"type\": \"tmpfs\", \"target\": \"/x\"}]}", nil)
	if !keyway.Is(err, keyway.BadConfig) || !strings.Contains(err.Error(), "devcontainer.json:3: volumes: the target /x is taken already, in line 2 (volumes)") {
		t.Error(err)
	}
}
