//go:build unix

package template

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"keyway/internal/catalogue"
	"keyway/internal/keyway"
	"keyway/internal/template/compose"
)

// digest is the image of every template here, once it is resolved.
const digest = "lab/train@sha256:0000000000000000000000000000000000000000000000000000000000000000"

func publishText(t *testing.T, text string) (catalogue.Template, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "keyway.yaml"), text)
	found, err := Finder{Dir: dir}.Find("train")
	if err != nil {
		return catalogue.Template{}, err
	}
	where := compose.Where{Local: true, Lookup: func(name string) (string, bool) { return "mine", name == "MINE" }}
	return found.Publish(where, func(image string) (string, error) {
		if image != "lab/train:1" {
			return "", errors.New("no such image: " + image)
		}
		return digest, nil
	})
}

func TestPublish(t *testing.T) {
	got, err := publishText(t, service(`image: lab/train:1
gpus: [{count: 1}]
environment: {HF_HOME: /mnt/cache, WHOSE: "${MINE}"}
volumes: ["/data:/mnt/data:ro"]
x-keyway:
  setup: pip list
  extensions: [ms-python.python]
  override:
    gpus: 4
    cpus: 1.5
    mem_limit: 64gb
    shm_size: 8g
    pids_limit: 512
    tmpfs: 1mb
    environment: [SEED, "HF_*"]
    volumes: [/scratch, "cache-*"]
    command: true
    user: false`))
	if err != nil {
		t.Fatal(err)
	}
	want := catalogue.Template{Format: 1, Name: "train", Setup: "pip list", Extensions: []string{"ms-python.python"}, Override: catalogue.Override{
		GPUs: 4, CPUs: 1.5, Memory: 64 << 30, ShmSize: 8 << 30, PidsLimit: 512, Tmpfs: 1 << 20,
		Env: []string{"SEED", "HF_*"}, Volumes: []string{"/scratch", "cache-*"}, Free: []string{catalogue.FreeCommand},
	}}
	s := &want.Spec
	s.Image, s.Template, s.Caller, s.GPUs.Count = digest, "train", true, 1
	s.Env = map[string]string{"HF_HOME": "/mnt/cache", "WHOSE": "mine"}
	s.Mounts = []keyway.Mount{{Source: "/data", Target: "/mnt/data", ReadOnly: true}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("published\n%+v, want\n%+v", got, want)
	}
	file, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	want.Spec.CPUs, want.Spec.Memory, want.Spec.ShmSize, want.Spec.PidsLimit = 1.5, 64<<30, 8<<30, 512 // the limits, without options
	read, err := catalogue.Parse(file)
	if err != nil || !reflect.DeepEqual(read, want) {
		t.Errorf("its file is\n%+v, %v", read, err)
	}
	asked, err := FromPlace("gpu1", read).Resolve(compose.Where{})
	if err != nil || !asked.Spec.Published || asked.Setup != "pip list" || asked.Spec.Image != digest {
		t.Errorf("asked for at the place: %+v, %v", asked, err)
	}
	if _, err := FromPlace("gpu1", read).Publish(compose.Where{}, nil); err == nil {
		t.Error("what is published already was published")
	}
}

func TestWhatIsNotPublished(t *testing.T) {
	for what, c := range map[string]struct{ text, says, next string }{
		"secrets":            {service("image: lab/train:1\nsecrets: [token]") + "secrets: {token: {environment: MINE}}\n", "secrets", "instead-secret"},
		"an agent":           {service("image: lab/train:1\nx-keyway: {forward_agent: true}"), "agents", "instead-forward"},
		"no image":           {service("gpus: all"), "names no image", "image:"},
		"an unknown image":   {service("image: lab/other"), "no such image", ""},
		"a laptop's files":   {service("image: lab/train:1\nvolumes: [\"./data:/data\"]"), "directory of this laptop", ""},
		"an unknown limit":   {service("image: lab/train:1\nx-keyway: {override: {gpu: 1}}"), `no field "train.x-keyway.override.gpu"`, "did you mean: gpus"},
		"no limits":          {service("image: lab/train:1\nx-keyway: {override: gpus}"), "override has fields", "for example"},
		"a limit of zero":    {service("image: lab/train:1\nx-keyway: {override: {gpus: 0}}"), "override.gpus", "a number above 0"},
		"half a GPU":         {service("image: lab/train:1\nx-keyway: {override: {gpus: 0.5}}"), "override.gpus", "whole number"},
		"a size of nothing":  {service("image: lab/train:1\nx-keyway: {override: {mem_limit: much}}"), "override.mem_limit", "64gb"},
		"a list of sizes":    {service("image: lab/train:1\nx-keyway: {override: {shm_size: [1g]}}"), "override.shm_size", "64gb"},
		"one variable":       {service("image: lab/train:1\nx-keyway: {override: {environment: {A: b}}}"), "override.environment", "a list"},
		"a relative volume":  {service("image: lab/train:1\nx-keyway: {override: {volumes: [./x]}}"), "./x", "/data:ro"},
		"half free":          {service("image: lab/train:1\nx-keyway: {override: {command: maybe}}"), "override.command", "true"},
		"an image to choose": {service("image: lab/train:1\nx-keyway: {override: {image: true}}"), `override.image"`, ""},
	} {
		_, err := publishText(t, c.text)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(keyway.AsError(err).Help(), c.next) {
			t.Errorf("%s: %v (%s), want %q and %q", what, err, keyway.AsError(err).Help(), c.says, c.next)
		}
	}
}

// TestWhichTemplateWins checks one name in all sources: the user's files come before the place,
// which is not asked then, and the place comes before the built-in templates.
func TestWhichTemplateWins(t *testing.T) {
	place := catalogue.Template{Format: 1, Name: "base"}
	place.Spec.Template, place.Spec.Image = "base", digest
	asked := 0
	f := Finder{Dir: t.TempDir(), Mine: t.TempDir(), AskPlace: func() ([]Template, error) {
		asked++
		return []Template{FromPlace("gpu1", place)}, nil
	}}
	find := func(want Source, times int) {
		t.Helper()
		if got, err := f.Find("base"); err != nil || got.Source != want || asked != times {
			t.Errorf("%+v, %v, the place was asked %d times; want %s", got, err, asked, want)
		}
	}
	find(Place, 1)
	write(t, filepath.Join(f.Mine, "base.yaml"), "services: {base: {image: mine}}\n")
	find(Mine, 1)
	write(t, filepath.Join(f.Dir, "keyway.yaml"), "services: {base: {image: repo}}\n")
	find(Repository, 1)
	all, problems := f.List()
	var order []Source
	for _, each := range all {
		if each.Name == "base" {
			order = append(order, each.Source)
		}
	}
	if !reflect.DeepEqual(order, []Source{Repository, Mine, Place, BuiltIn}) || len(problems) > 0 {
		t.Errorf("listed as %q, %v", order, problems)
	}
	f = Finder{Dir: t.TempDir(), AskPlace: func() ([]Template, error) { return nil, errors.New("it does not answer") }}
	if _, err := f.Find("base"); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("a place that cannot be asked may have another: %v", err)
	}
}
