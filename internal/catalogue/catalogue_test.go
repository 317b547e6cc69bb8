package catalogue

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// published returns a template with a value in most fields.
func published() Template {
	t := Template{Format: Format, Name: "train", Spec: keyway.Spec{Image: "lab/torch@sha256:" + strings.Repeat("a", 64)}}
	t.Spec.Template = "train"
	t.Spec.Caller = true
	t.Spec.GPUs.Count, t.Spec.Memory, t.Spec.ShmSize = 1, 32<<30, 8<<30
	t.Spec.Env = map[string]string{"HF_HOME": "/mnt/cache", "MODE": "team"}
	t.Spec.Mounts = []keyway.Mount{{Source: "/data", Target: "/mnt/data", ReadOnly: true}}
	t.Override = Override{
		GPUs: 4, CPUs: 16, Memory: 128 << 30, ShmSize: 16 << 30, PidsLimit: 4096, Tmpfs: 1 << 30,
		Env: []string{"SEED", "HF_*"}, Volumes: []string{"/scratch", "/models:ro", "cache-*"}, Free: []string{FreeWorkdir},
	}
	return t
}

// asked returns the Spec of keyway up without an option.
func asked(t Template) keyway.Spec {
	s := t.Spec
	s.Name, s.AuthorizedKeys, s.Published = "mine", []string{"ssh-ed25519 AAAA"}, true
	s.Env = map[string]string{}
	for k, v := range t.Spec.Env {
		s.Env[k] = v
	}
	s.Mounts = slices.Clone(t.Spec.Mounts)
	return s
}

// differently sets each leaf below v in turn to something else, and calls visit with
// its path.
func differently(v reflect.Value, path string, visit func(string)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			differently(v.Field(i), path+"."+v.Type().Field(i).Name, visit)
		}
		return
	}
	before := reflect.ValueOf(v.Interface())
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "other")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 1)
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	case reflect.Map:
		other := reflect.MakeMap(v.Type())
		other.SetMapIndex(reflect.ValueOf("OTHER"), reflect.ValueOf("x"))
		v.Set(other)
	default:
		panic(path + ": no other value of a " + v.Kind().String())
	}
	visit(path)
	v.Set(before)
}

// TestNothingIsFree changes each field of Spec in turn, found by reflection, so that later fields
// are included. It checks that a template without overrides refuses each change, except in the
// fields that belong to the user.
func TestNothingIsFree(t *testing.T) {
	own := []string{".Name", ".Access.AuthorizedKeys", ".Access.ForwardAgent", ".Resources.GPUs.Wait", ".Engine"}
	tmpl := published()
	tmpl.Override = Override{}
	s := asked(tmpl)
	if err := (Catalogue{tmpl}).Check(s); err != nil {
		t.Fatalf("as the template says: %v", err)
	}
	seen := 0
	differently(reflect.ValueOf(&s).Elem(), "", func(path string) {
		seen++
		if path == ".Engine" {
			s.Engine = keyway.EngineWith(true)
		}
		c := Catalogue{tmpl}
		c[0].Only = true // otherwise the Spec is not checked
		err := c.Check(s)
		if ok := err == nil; ok != (slices.Contains(own, path) || path == ".Origin.Published") {
			t.Errorf("%s differs: %v", path, err)
		}
		if err != nil && (!keyway.Is(err, keyway.NotAllowed) || keyway.AsError(err).Help() == "") {
			t.Errorf("%s: want a kind and a next step: %v", path, err)
		}
	})
	if seen < 25 {
		t.Errorf("only %d fields were changed", seen)
	}
	s.Engine = keyway.EngineWith(false)
	if err := (Catalogue{tmpl}).Check(s); err == nil {
		t.Error("plain processes in the place of a container")
	}
}

// TestLimits checks requests for the limit, for more than the limit, and for no limit at all.
func TestLimits(t *testing.T) {
	mount := func(m keyway.Mount) func(*keyway.Spec) {
		return func(s *keyway.Spec) { s.Mounts = append(s.Mounts, m) }
	}
	env := func(name, value string) func(*keyway.Spec) { return func(s *keyway.Spec) { s.Env[name] = value } }
	for what, c := range map[string]struct {
		ask  func(*keyway.Spec)
		says string // empty: it is allowed
	}{
		"fewer GPUs":               {func(s *keyway.Spec) { s.GPUs = keyway.GPUs{} }, ""},
		"the most GPUs":            {func(s *keyway.Spec) { s.GPUs = keyway.GPUs{Count: 4} }, ""},
		"GPUs by name":             {func(s *keyway.Spec) { s.GPUs = keyway.GPUs{IDs: []string{"0", "1", "2", "3"}} }, ""},
		"too many GPUs":            {func(s *keyway.Spec) { s.GPUs = keyway.GPUs{Count: 5} }, "5 is asked for (GPUs), and 4 is the most"},
		"too many GPUs by name":    {func(s *keyway.Spec) { s.GPUs = keyway.GPUs{IDs: []string{"0", "1", "2", "3", "4"}} }, "4 is the most"},
		"all GPUs":                 {func(s *keyway.Spec) { s.GPUs = keyway.GPUs{All: true} }, "all is asked for (GPUs), and 4 is the most"},
		"all GPUs and a number":    {func(s *keyway.Spec) { s.GPUs = keyway.GPUs{All: true, Count: 1} }, "4 is the most"},
		"processors":               {func(s *keyway.Spec) { s.CPUs = 16 }, ""},
		"too many processors":      {func(s *keyway.Spec) { s.CPUs = 16.5 }, "16.5 is asked for (processors), and 16 is the most"},
		"memory":                   {func(s *keyway.Spec) { s.Memory = 128 << 30 }, ""},
		"a byte too much":          {func(s *keyway.Spec) { s.Memory = 128<<30 + 1 }, "137438953473 is asked for (memory), and 128gb is the most"},
		"memory without a limit":   {func(s *keyway.Spec) { s.Memory = 0 }, "no limit is asked for (memory), and 128gb is the most"},
		"shared memory":            {func(s *keyway.Spec) { s.ShmSize = 32 << 30 }, "32gb is asked for (shared memory), and 16gb is the most"},
		"shared memory of any":     {func(s *keyway.Spec) { s.ShmSize = 0 }, "16gb is the most"},
		"processes":                {func(s *keyway.Spec) { s.PidsLimit = 4096 }, ""},
		"processes without end":    {func(s *keyway.Spec) { s.PidsLimit = -1 }, "no limit is asked for (the number of processes), and 4096 is the most"},
		"a variable":               {env("SEED", "1"), ""},
		"a variable by its start":  {env("HF_TOKEN", "1"), ""},
		"the template's own":       {env("HF_HOME", "/tmp"), ""},
		"another variable":         {env("LD_PRELOAD", "/x.so"), `users may not set the variable "LD_PRELOAD"; they may set: SEED, HF_*`},
		"a fixed variable":         {env("MODE", "mine"), `"MODE"`},
		"a fixed variable removed": {func(s *keyway.Spec) { delete(s.Env, "MODE") }, `"MODE"`},
		"a variable taken away":    {func(s *keyway.Spec) { s.Unset = []string{"SEED"} }, ""},
		"another taken away":       {func(s *keyway.Spec) { s.Unset = []string{"SEED", "PATH"} }, `"PATH"`},
		"a fixed one taken away":   {func(s *keyway.Spec) { delete(s.Env, "MODE"); s.Unset = []string{"MODE"} }, `"MODE"`},
		"a directory":              {mount(keyway.Mount{Source: "/scratch", Target: "/s"}), ""},
		"one below it":             {mount(keyway.Mount{Source: "/scratch/link", Target: "/s"}), `users may not mount "/scratch/link"; they may mount: /scratch, /models:ro, cache-*`},
		"one above it":             {mount(keyway.Mount{Source: "/scratch/..", Target: "/s"}), "users may not mount"},
		"one to read":              {mount(keyway.Mount{Source: "/models", Target: "/m", ReadOnly: true}), ""},
		"one to read, to write":    {mount(keyway.Mount{Source: "/models", Target: "/m"}), "/models may only be mounted read-only"},
		"a volume":                 {mount(keyway.Mount{Kind: keyway.MountVolume, Source: "cache-mine", Target: "/c"}), ""},
		"another volume":           {mount(keyway.Mount{Kind: keyway.MountVolume, Source: "home", Target: "/c"}), "users may not mount"},
		"a volume like a path":     {mount(keyway.Mount{Kind: keyway.MountVolume, Source: "/scratch", Target: "/c"}), "users may not mount"},
		"a directory by a pattern": {mount(keyway.Mount{Source: "cache-x", Target: "/c"}), "users may not mount"},
		"a kind of its own":        {mount(keyway.Mount{Kind: "image", Source: "/scratch", Target: "/c"}), "users may not mount"},
		"a tmpfs":                  {mount(keyway.Mount{Kind: keyway.MountTmpfs, Target: "/t", Size: 1 << 30}), ""},
		"too large a tmpfs":        {mount(keyway.Mount{Kind: keyway.MountTmpfs, Target: "/t", Size: 2 << 30}), "/t:size=2gb is asked for (tmpfs), and /t:size=1gb is the most"},
		"a tmpfs of any size":      {mount(keyway.Mount{Kind: keyway.MountTmpfs, Target: "/t"}), "no limit"},
		"the template's mount":     {func(s *keyway.Spec) { s.Mounts[0].ReadOnly = false }, "the template mounts bind /data at /mnt/data (read only)"},
		"a tmpfs in its place":     {func(s *keyway.Spec) { s.Mounts[0] = keyway.Mount{Kind: keyway.MountTmpfs, Target: s.Mounts[0].Target} }, "the template mounts bind /data at /mnt/data"},
		"without its mount":        {func(s *keyway.Spec) { s.Mounts = nil }, "the template mounts bind /data at /mnt/data"},
		"a volume for the home":    {func(s *keyway.Spec) { s.HomeVolume = "cache-home" }, ""},
		"another for the home":     {func(s *keyway.Spec) { s.HomeVolume = "home" }, `"home"`},
		"what is free":             {func(s *keyway.Spec) { s.Workdir = "/anywhere" }, ""},
		"what is not":              {func(s *keyway.Spec) { s.Command = []string{"sh"} }, "users may not change the command: the template says nothing"},
		"another user":             {func(s *keyway.Spec) { s.User, s.Caller = "0", false }, "users may not change the user"},
		"another image":            {func(s *keyway.Spec) { s.Image = "mine" }, "users may not change the image: the template says \"lab/torch@sha256:"},
	} {
		tmpl := published()
		s := asked(tmpl)
		c.ask(&s)
		err := (Catalogue{tmpl}).Check(s)
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", what, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "template train: ")):
			t.Errorf("%s: %v, want %q", what, err, c.says)
		case c.says != "" && !strings.Contains(keyway.AsError(err).Help(), string(keyway.SeePlaceTemplates)):
			t.Errorf("%s: no next step: %v", what, err)
		}
	}
}

// TestWhatIsToBeLeftOutWasTyped checks that the error names the option that replaced a template's
// mount.
func TestWhatIsToBeLeftOutWasTyped(t *testing.T) {
	tmpl := published()
	for kind, option := range map[string]string{keyway.MountTmpfs: "tmpfs", keyway.MountBind: "volume", keyway.MountVolume: "volume"} {
		s := asked(tmpl)
		s.Mounts[0] = keyway.Mount{Kind: kind, Source: "other", Target: s.Mounts[0].Target}
		advice := keyway.AsError((Catalogue{tmpl}).Check(s)).Advice
		if len(advice) == 0 || advice[0].Step != keyway.AsTemplate || !slices.Equal(advice[0].About, []string{option}) {
			t.Errorf("%s: %+v", kind, advice)
		}
	}
}

// TestNothingAskedForIsNoMoreThanTheLimit sets each limit of Override in turn, found by reflection,
// so that later limits are included. It checks that a workspace gets the limit if neither the
// template nor the user gives a value, and that a request without a limit is refused.
func TestNothingAskedForIsNoMoreThanTheLimit(t *testing.T) {
	nothing := []string{"GPUs", "Tmpfs"} // without a number there is none
	limits := reflect.TypeFor[Override]()
	for i := range limits.NumField() {
		name := limits.Field(i).Name
		tmpl := Template{Format: Format, Name: "train", Spec: keyway.Spec{Image: "lab/torch", Origin: keyway.Origin{Template: "train"}}}
		plain := asked(tmpl)
		v := reflect.ValueOf(&tmpl.Override).Elem().Field(i)
		if !v.CanInt() && !v.CanFloat() {
			continue
		}
		v.Set(reflect.ValueOf(4711).Convert(v.Type()))
		data, err := json.Marshal(tmpl)
		if err != nil {
			t.Fatal(err)
		}
		read, err := Parse(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := (Catalogue{read}).Check(asked(read)); err != nil {
			t.Errorf("%s: what the template gives: %v", name, err)
		}
		if slices.Contains(nothing, name) {
			if !reflect.DeepEqual(read.Spec, tmpl.Spec) {
				t.Errorf("%s is given to those who do not ask for it: %+v", name, read.Spec)
			}
			continue
		}
		if got := reflect.ValueOf(read.Spec).FieldByName(name); !got.IsValid() || !got.Equal(v) {
			t.Errorf("%s: without an option there is %v, and %v is the most", name, got, v)
		}
		if err := (Catalogue{read}).Check(plain); !keyway.Is(err, keyway.NotAllowed) || !strings.Contains(err.Error(), "no limit is asked for") {
			t.Errorf("%s: no limit: %v", name, err)
		}
		tmpl.Spec.Engine, tmpl.Spec.Image = keyway.EngineHost, ""
		if data, err = json.Marshal(tmpl); err != nil {
			t.Fatal(err)
		}
		if read, err = Parse(data); err != nil || !reflect.DeepEqual(read.Spec, tmpl.Spec) {
			t.Errorf("%s, of plain processes: %+v, %v", name, read.Spec, err)
		}
	}
}

// TestOnly checks that a place whose catalogue has "only" makes workspaces from its own templates
// alone, and that other places make others, too.
func TestOnly(t *testing.T) {
	open, closed := published(), published()
	closed.Only = true
	other := keyway.Spec{Name: "mine", Image: "mine"}
	named := asked(open)
	named.Template = "tran"
	for what, c := range map[string]struct {
		in   Catalogue
		s    keyway.Spec
		says string
	}{
		"no catalogue":                      {nil, other, ""},
		"guidance":                          {Catalogue{open}, other, ""},
		"a fence":                           {Catalogue{open, closed}, other, "from its own templates only: train"},
		"a template that is gone":           {nil, asked(open), `no template "train"; it has none`},
		"a template that there never was":   {Catalogue{open}, named, `no template "tran"; it has train`},
		"a template of its own, by a fence": {Catalogue{closed}, asked(closed), ""},
	} {
		err := c.in.Check(c.s)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", what, err, c.says)
		}
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	whole, err := json.Marshal(published())
	if err != nil {
		t.Fatal(err)
	}
	want := published()
	want.Spec.CPUs, want.Spec.PidsLimit = 16, 4096 // the template does not set these
	if got, err := Parse(whole); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("what was published: %v\n%+v", err, got)
	}
	with := func(change func(*Template)) string {
		tmpl := published()
		change(&tmpl)
		data, err := json.Marshal(tmpl)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for what, c := range map[string]struct{ file, says string }{
		"nothing":                       {"", "not what keyway templates publish writes"},
		"Compose":                       {"services: {}", "not what keyway templates publish writes"},
		"two templates":                 {string(whole) + "{}", "something follows"},
		"an unknown field":              {strings.Replace(string(whole), `"override":{`, `"override":{"disks":1,`, 1), "disks"},
		"an unknown limit":              {strings.Replace(string(whole), `"keyway":1`, `"keyway":1,"limits":{}`, 1), "limits"},
		"another format":                {with(func(t *Template) { t.Format = 2 }), "the format 2"},
		"no format":                     {with(func(t *Template) { t.Format = 0 }), "the format 0"},
		"no name":                       {with(func(t *Template) { t.Name = "" }), "name"},
		"a name that is a path":         {with(func(t *Template) { t.Name = "../x" }), "name"},
		"another's name":                {with(func(t *Template) { t.Spec.Template = "other" }), "other"},
		"no image":                      {with(func(t *Template) { t.Spec.Image = "" }), "no image"},
		"keys":                          {with(func(t *Template) { t.Spec.AuthorizedKeys = []string{"k"} }), "a user's"},
		"an agent":                      {with(func(t *Template) { t.Spec.ForwardAgent = true }), "a user's"},
		"a secret":                      {with(func(t *Template) { t.Spec.Secrets = []keyway.Secret{{Name: "x"}} }), "a user's"},
		"a wait":                        {with(func(t *Template) { t.Spec.GPUs.Wait = true }), "a user's"},
		"a Spec that is none":           {with(func(t *Template) { t.Spec.Memory = -1 }), "spec"},
		"a negative limit":              {with(func(t *Template) { t.Override.GPUs = -1 }), "negative"},
		"a negative size":               {with(func(t *Template) { t.Spec.Memory, t.Override.Memory = 0, -1 }), "negative"},
		"a relative directory":          {with(func(t *Template) { t.Override.Volumes = []string{"./data"} }), "./data"},
		"a directory that is not clean": {with(func(t *Template) { t.Override.Volumes = []string{"/data/.."} }), "/data/.."},
		"an empty variable":             {with(func(t *Template) { t.Override.Env = []string{""} }), "env"},
		"very many variables":           {with(func(t *Template) { t.Override.Env = slices.Repeat([]string{"A"}, maxList+1) }), "env"},
		"what cannot be free":           {with(func(t *Template) { t.Override.Free = []string{"image"} }), "image"},
		"a long setup":                  {with(func(t *Template) { t.Setup = strings.Repeat("x", maxSetup+1) }), "setup"},
		"a large file":                  {string(whole) + strings.Repeat(" ", MaxFile), "larger than"},
	} {
		if _, err := Parse([]byte(c.file)); !keyway.Is(err, keyway.BadConfig) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", what, err, c.says)
		}
	}
}

// FuzzParse checks that an accepted template is bounded, permits its own values, and permits no
// fields that it does not name.
func FuzzParse(f *testing.F) {
	whole, _ := json.Marshal(published())
	f.Add(whole)
	f.Add([]byte(`{"keyway":1,"name":"a","spec":{"name":"","authorizedKeys":null,"image":"x","template":"a"},"override":{"env":["*"],"volumes":["*"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tmpl, err := Parse(data)
		if err != nil {
			return
		}
		s := asked(tmpl)
		if err := (Catalogue{tmpl}).Check(s); err != nil {
			t.Errorf("it does not allow what it says: %v", err)
		}
		s.Image += "x"
		if (Catalogue{tmpl}).Check(s) == nil {
			t.Error("another image is allowed")
		}
	})
}
