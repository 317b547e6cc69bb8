package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"keyway/internal/keyway"
	"keyway/internal/template"
)

// TestATemplateThatForwardsTheAgentSaysSo checks that up reports a template that forwards the
// agent, because a cloned repository may belong to anybody.
func TestATemplateThatForwardsTheAgentSaysSo(t *testing.T) {
	for _, forward := range []bool{true, false} {
		a := asked{from: template.Template{Name: "x", File: "keyway.yaml"}}
		a.Spec.ForwardAgent = forward
		var said strings.Builder
		a.tell(&said)
		if strings.Contains(said.String(), "agent to be forwarded") != forward {
			t.Errorf("forwarding %v: %s", forward, said.String())
		}
	}
}

// TestOptionsComeBeforeTheTemplate checks that each option replaces the template's value of its
// setting, and nothing else.
func TestOptionsComeBeforeTheTemplate(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	from := func() keyway.Spec {
		return keyway.Spec{
			Image: "template/image:1", Command: []string{"serve"},
			Resources: keyway.Resources{GPUs: keyway.GPUs{Count: 2}, Memory: 1 << 30, ShmSize: 1 << 28, Ulimits: []keyway.Ulimit{{Name: "core"}, {Name: "memlock", Soft: -1, Hard: -1}}},
			Files:     keyway.Files{Mounts: []keyway.Mount{{Source: "/a", Target: "/x"}, {Source: "/b", Target: "/y"}}, HomeVolume: "home"},
			Process:   keyway.Process{Caller: true, Env: map[string]string{"A": "1", "B": "1"}},
			Origin:    keyway.Origin{Template: "My.Template"},
		}
	}
	base := upOptions{place: "local"}
	for name, c := range map[string]struct {
		set  func(*upOptions)
		want func(*keyway.Spec)
	}{
		"nothing": {func(*upOptions) {}, func(*keyway.Spec) {}},
		"image":   {func(o *upOptions) { o.image = "other" }, func(s *keyway.Spec) { s.Image = "other" }},
		"gpus":    {func(o *upOptions) { o.gpus = "none" }, func(s *keyway.Spec) { s.GPUs = keyway.GPUs{} }},
		"user":    {func(o *upOptions) { o.user = "root" }, func(s *keyway.Spec) { s.User, s.Caller = "root", false }},
		"command": {func(o *upOptions) { o.command = []string{"x"} }, func(s *keyway.Spec) { s.Command = []string{"x"} }},
		"name":    {func(o *upOptions) { o.name = "train" }, func(s *keyway.Spec) { s.Name = "train" }},
		"memory":  {func(o *upOptions) { o.limits.memory = "2g" }, func(s *keyway.Spec) { s.Memory = 2 << 30 }},
		"ulimit": {func(o *upOptions) { o.limits.ulimits = []string{"core=1:2"} }, func(s *keyway.Spec) {
			s.Ulimits = []keyway.Ulimit{{Name: "memlock", Soft: -1, Hard: -1}, {Name: "core", Soft: 1, Hard: 2}}
		}},
		"the place's IPC": {func(o *upOptions) { o.privileges.ipc = "host" }, func(s *keyway.Spec) { s.IPC, s.ShmSize = "host", 0 }},
		"IPC and a size":  {func(o *upOptions) { o.privileges.ipc, o.limits.shm = "host", "1g" }, func(s *keyway.Spec) { s.IPC, s.ShmSize = "host", 1<<30 }},
		"sharing":         {func(o *upOptions) { o.privileges.ipc, o.privileges.network = "host", "lab" }, func(s *keyway.Spec) { s.IPC, s.Network, s.ShmSize = "host", "lab", 0 }},
		"mount": {func(o *upOptions) { o.mounts = []string{"cache:/x"} }, func(s *keyway.Spec) {
			s.Mounts = []keyway.Mount{{Source: "/b", Target: "/y"}, {Kind: keyway.MountVolume, Source: "cache", Target: "/x"}}
		}},
		"tmpfs": {func(o *upOptions) { o.template.tmpfs = []string{"/y:size=8m"} }, func(s *keyway.Spec) {
			s.Mounts = []keyway.Mount{{Source: "/a", Target: "/x"}, {Kind: keyway.MountTmpfs, Target: "/y", Size: 8 << 20}}
		}},
		"env": {func(o *upOptions) { o.env = []string{"B=2", "C=3"} }, func(s *keyway.Spec) { s.Env = map[string]string{"A": "1", "B": "2", "C": "3"} }},
		"device": {func(o *upOptions) { o.template.devices = []string{"/dev/fuse"} }, func(s *keyway.Spec) {
			s.Devices = []keyway.Device{{Source: "/dev/fuse", Target: "/dev/fuse", Access: "rwm"}}
		}},
		"secret": {func(o *upOptions) { o.template.secrets = []string{"hf=" + secret} }, func(s *keyway.Spec) { s.Secrets = []keyway.Secret{{Name: "hf", Value: []byte("s3cret")}} }},
		"its /dev/shm": {func(o *upOptions) { o.mounts = []string{"/dev/shm:/dev/shm/"} }, func(s *keyway.Spec) {
			s.ShmSize, s.Mounts = 0, append(s.Mounts, keyway.Mount{Source: "/dev/shm", Target: "/dev/shm"})
		}},
		"memory there": {func(o *upOptions) { o.template.tmpfs = []string{"/dev/shm:size=8m"} }, func(s *keyway.Spec) {
			s.ShmSize, s.Mounts = 0, append(s.Mounts, keyway.Mount{Kind: keyway.MountTmpfs, Target: "/dev/shm", Size: 8 << 20})
		}},
		"label": {func(o *upOptions) { o.template.labels = []string{"team=vision"} }, func(s *keyway.Spec) { s.Labels = map[string]string{"team": "vision"} }},
		"home":  {func(o *upOptions) { o.template.home = "other" }, func(s *keyway.Spec) { s.HomeVolume = "other" }},
	} {
		o, want := base, from()
		want.Name = "my-template"
		c.set(&o)
		c.want(&want)
		got, place, err := o.spec(from())
		if err != nil || place != keyway.Local || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", name, err, got, want)
		}
	}
	for name, o := range map[string]upOptions{
		"tmpfs":                    {place: "local", template: templateOptions{tmpfs: []string{"scratch"}}},
		"device":                   {place: "local", template: templateOptions{devices: []string{"fuse"}}},
		"secret":                   {place: "local", template: templateOptions{secrets: []string{"name=/none/such"}}},
		"volume that is not UTF-8": {place: "local", mounts: []string{"/v\xff:/x"}},
		"value that is not UTF-8":  {place: "local", env: []string{"A=\xff"}},
		"label of two lines":       {place: "local", template: templateOptions{labels: []string{"x\n=1"}}},
	} {
		if _, _, err := o.spec(from()); !keyway.Is(err, keyway.Usage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTwoOptionsThatExcludeEachOther checks that two such options are an error that shows no value
// that may be secret.
func TestTwoOptionsThatExcludeEachOther(t *testing.T) {
	for says, o := range map[string]upOptions{
		"-v /a:/x and -v b:/x/:ro exclude each other":                                                    {mounts: []string{"/a:/x", "/c:/y", "b:/x/:ro"}},
		"-v /a:/x and --tmpfs /x:size=1m exclude each other":                                             {mounts: []string{"/a:/x"}, template: templateOptions{tmpfs: []string{"/x:size=1m"}}},
		"-v /a:/run/secrets/t and --secret t=f exclude each other":                                       {mounts: []string{"/a:/run/secrets/t"}, template: templateOptions{secrets: []string{"t=f"}}},
		"--secret t=f and --secret t=g exclude each other":                                               {template: templateOptions{secrets: []string{"t=f", "t=g"}}},
		"--device /dev/a and --device /dev/b:/dev/a:r exclude each other":                                {template: templateOptions{devices: []string{"/dev/a", "/dev/b:/dev/a:r"}}},
		"-e TOKEN=… and -e TOKEN=… exclude each other":                                                   {env: []string{"TOKEN=hush", "A=1", "TOKEN=hush2"}},
		"-e A=… and -e A exclude each other":                                                             {env: []string{"A=1", "A"}},
		"--label a=1 and --label a exclude each other":                                                   {template: templateOptions{labels: []string{"a=1", "a"}}},
		"--security-opt no-new-privileges and --security-opt no-new-privileges=false exclude each other": {privileges: privilegeOptions{security: []string{"no-new-privileges", "no-new-privileges=false"}}},
	} {
		o.place = "local"
		if _, _, err := o.spec(keyway.Spec{Image: "i"}); !keyway.Is(err, keyway.Usage) || err.Error() != says || keyway.AsError(err).Help() == "" {
			t.Errorf("%v, want %s", err, says)
		}
	}
	o := upOptions{place: "local", mounts: []string{"/a:/x", "/b:/x/y"}, env: []string{"A=1", "B=1"}, template: templateOptions{tmpfs: []string{"/x/y/z"}, labels: []string{"A=1"}}}
	if _, _, err := o.spec(keyway.Spec{Image: "i"}); err != nil {
		t.Error(err)
	}
}

func TestTemplatesAreListedWithWhoWins(t *testing.T) {
	mine := t.TempDir()
	if err := os.WriteFile(filepath.Join(mine, "x.yaml"), []byte("services: {pytorch: {image: mine}, bad: {imge: i}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, problems := template.Finder{Mine: mine}.List()
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	rows := templateRows(all)
	if len(rows) != 6 || !rows[0].Wins || rows[0].Why != "comes before built in" || rows[0].Image != "mine" {
		t.Errorf("%+v", rows)
	}
	if rows[1].Error == nil || !strings.Contains(rows[1].Error.Message, "imge") {
		t.Errorf("%+v", rows[1])
	}
	if rows[2].Wins || !strings.HasPrefix(rows[2].Why, "hidden by mine") {
		t.Errorf("%+v", rows[2])
	}
}
