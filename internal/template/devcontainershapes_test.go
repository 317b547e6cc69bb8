//go:build unix

package template

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"keyway/internal/template/compose"
	"keyway/internal/template/devcontainer"
)

// devcontainerSettings are the settings of the schema of devcontainer.json for a container that is
// made from an image, and one that nobody knows.
var devcontainerSettings = strings.Fields(`features overrideFeatureInstallOrder secrets forwardPorts portsAttributes otherPortsAttributes
	updateRemoteUserUID containerEnv containerUser mounts init privileged capAdd securityOpt remoteEnv remoteUser initializeCommand
	onCreateCommand updateContentCommand postCreateCommand postStartCommand postAttachCommand waitFor userEnvProbe hostRequirements
	customizations build dockerFile context appPort runArgs shutdownAction overrideCommand workspaceFolder workspaceMount runServices
	hostRequirements.gpu hostRequirements.cpus customizations.vscode customizations.vscode.extensions customizations.other runArgs.[] mounts.[]
	capAdd.[] securityOpt.[] forwardPorts.[] appPort.[] containerEnv.A remoteEnv.A postCreateCommand.a postCreateCommand.[] invented`)

// jsonShapes are values of each shape.
var jsonShapes = []string{`"text"`, `"5"`, `5`, `1.5`, `-1`, `true`, `false`, `["a"]`, `[5]`, `[true]`, `[null]`, `[["a"]]`, `[{"a": "b"}]`, `{"a": "b"}`, `{"a": ["b"]}`,
	`{"a": [["b"]]}`, `{"a": {"b": "c"}}`, `{"a": 5}`, `{"a": true}`, `"${localWorkspaceFolder}"`, `"${localEnv:A}"`, `"${invented:A}"`, `"${A}"`}

// silent lists values that request what a workspace has anyway.
var silent = []string{`init: true`, `init: false`, `privileged: false`, `overrideCommand: true`, `updateRemoteUserUID: true`, `hostRequirements.gpu: false`}

// TestNoSettingIsDropped checks each setting of a devcontainer.json with a value of every shape:
// it changes the workspace, or it is listed with its line and a reason, or it is an error.
func TestNoSettingIsDropped(t *testing.T) {
	container := func(text string) (compose.Asked, []devcontainer.Left, error) {
		doc, left, err := devcontainer.Parse("/project/.devcontainer/devcontainer.json", []byte(text))
		if err != nil {
			return compose.Asked{}, nil, err
		}
		a, err := Template{Name: devcontainer.Name, Source: Repository, doc: doc}.Resolve(compose.Where{Lookup: func(name string) (string, bool) { return "a", name == "A" }})
		a.Variables = nil
		return a, left, err
	}
	bare, _, err := container(`{"image": "i"}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range devcontainerSettings {
		path := strings.Split(setting, ".")
		for _, value := range jsonShapes {
			text := value
			for _, name := range slices.Backward(path[1:]) {
				if name == "[]" {
					text = "[" + text + "]"
				} else {
					text = `{"` + name + `": ` + text + "}"
				}
			}
			got, left, err := container("{\"image\": \"i\",\n\"" + path[0] + "\": " + text + "}")
			changed := !reflect.DeepEqual(got, bare)
			listed := len(left) > 0 && left[0].Why != "" && left[0].Line == 2
			if err == nil && !changed && !listed && !slices.Contains(silent, setting+": "+value) {
				t.Errorf("%s: %s is dropped: %+v", setting, value, left)
			}
			if err == nil && (changed || listed) && slices.Contains(silent, setting+": "+value) {
				t.Errorf("%s: %s is no news: %+v", setting, value, left)
			}
		}
		for _, empty := range []string{`null`, `[]`, `{}`, `""`} {
			got, left, err := container("{\"image\": \"i\",\n\"" + path[0] + "\": " + empty + "}")
			if err != nil || len(left) > 0 || !reflect.DeepEqual(got, bare) {
				t.Errorf("%s: %s: %v, %v, %+v", setting, empty, err, left, got)
			}
		}
	}
}
