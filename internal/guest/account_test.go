//go:build linux

package guest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// image returns a root directory with files in it, and facts about a process there.
func image(t *testing.T, uid int, files map[string]string) accountFacts {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(content), 0o755))
	}
	home := keyway.Home(filepath.Join(t.TempDir(), "home"))
	must(t, os.MkdirAll(string(home), 0o700))
	return accountFacts{root: root, uid: uid, gid: uid, env: func(string) string { return "" }, workdir: "/", keyway: home}
}

func env(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestAccountFromPasswd(t *testing.T) {
	f := image(t, 1000, map[string]string{
		"etc/passwd":     "root:x:0:0::/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/zsh\n",
		"bin/zsh":        "",
		"bin/bash":       "",
		"home/ann/.keep": "",
	})
	a := newAccount(f)
	if a.Name != "ann" || a.Home != "/home/ann" || a.Shell != "/bin/zsh" || a.Start != a.Home {
		t.Fatalf("got %+v", a)
	}
}

func TestAccountShell(t *testing.T) {
	for _, c := range []struct{ own, file, want string }{
		{"/usr/sbin/nologin", "bin/sh", "/bin/sh"},
		{"/bin/fish", "bin/sh", "/bin/sh"},
		{"", "busybox/sh", "/busybox/sh"},
		{"", "bin/true", ""},
		{"bin/sh", "usr/bin/bash", "/usr/bin/bash"},
	} {
		f := image(t, 0, map[string]string{"etc/passwd": "root:x:0:0::/:" + c.own + "\n", c.file: "", "usr/sbin/nologin": ""})
		if a := newAccount(f); a.Shell != c.want {
			t.Errorf("%+v: got %q", c, a.Shell)
		}
	}
}

func TestAccountHome(t *testing.T) {
	files := map[string]string{"etc/passwd": "root:x:0:0::/own:\n", "own/.keep": "", "env/.keep": "", "work/.keep": ""}
	f := image(t, 0, files)
	f.env = env(map[string]string{"HOME": "/env"})
	if a := newAccount(f); a.Home != "/env" {
		t.Errorf("$HOME counts first: got %q", a.Home)
	}
	f.env = env(map[string]string{"HOME": "/"})
	if a := newAccount(f); a.Home != "/own" {
		t.Errorf("then passwd: got %q", a.Home)
	}
	must(t, os.RemoveAll(filepath.Join(f.root, "own")))
	f.workdir = "/work"
	if a := newAccount(f); a.Home != "/work" {
		t.Errorf("then the working directory: got %q", a.Home)
	}
	f.workdir = "/"
	must(t, os.Mkdir(f.keyway.Data(), 0o700))
	a := newAccount(f)
	if want := f.keyway.UserHome(); a.Home != want {
		t.Errorf("then one beside the guest's files: got %q", a.Home)
	}
	if info, err := os.Stat(a.Home); err != nil || !info.IsDir() {
		t.Errorf("which has to be there: %v", err)
	}
}

func TestAccountName(t *testing.T) {
	for _, c := range []struct {
		uid          int
		passwd, user string
		want         string
	}{
		{0, "", "", "root"},
		{0, "", "ann", "root"},
		{1000, "", "", "keyway"},
		{1000, "", "ann", "ann"},
		{1000, "ann:x:7:7::/:\n", "ann", "keyway"},
		{1000, "keyway:x:7:7::/:\n", "", "keyway1000"},
		{1000, "", "-rf", "keyway"},
		{1000, "", "a b", "keyway"},
		{1000, "broken\n#1000:x:1000:0::/:\n::1000::::\n", "", "keyway"},
	} {
		f := image(t, c.uid, map[string]string{"etc/passwd": c.passwd})
		f.env = env(map[string]string{"USER": c.user})
		if a := newAccount(f); a.Name != c.want {
			t.Errorf("%+v: got %q", c, a.Name)
		}
	}
}

// TestAccountOfALogin checks that a workspace of plain processes has the user of the login, also if
// that is in a directory, and that a container has the user of the image's passwd.
func TestAccountOfALogin(t *testing.T) {
	for _, c := range []struct {
		passwd, user string
		container    bool
		name, shell  string
	}{
		{"", "ada@corp.example.com", false, "ada@corp.example.com", "/bin/zsh"},
		{"", `CORP\ada`, false, `CORP\ada`, "/bin/zsh"},
		{"", "CORP\\ada\n", false, "keyway", "/bin/zsh"},
		{"", "", false, "keyway", "/bin/zsh"},
		{"ada:x:1000:1000::/:/bin/bash\n", `CORP\ada`, false, `CORP\ada`, "/bin/zsh"},
		{"ann:x:1000:1000::/:/bin/bash\nada:x:1000:1000::/:/bin/bash\n", "ada", false, "ada", "/bin/zsh"},
		{"root:x:0:0::/:\nann:x:1000:1000::/:/bin/bash\n", "root", false, "ann", "/bin/bash"},
		{"ann:x:1000:1000::/:/bin/bash\n", "ada", true, "ann", "/bin/bash"},
		{"", "ada@corp.example.com", true, "ada@corp.example.com", "/bin/zsh"},
	} {
		f := image(t, 1000, map[string]string{"etc/passwd": c.passwd, "bin/bash": "", "bin/zsh": ""})
		f.env = env(map[string]string{"USER": c.user, "SHELL": "/bin/zsh"})
		if c.container {
			f.keyway = keyway.GuestHome
		}
		if a := newAccount(f); a.Name != c.name || a.Shell != c.shell {
			t.Errorf("%+v: got %q, %q", c, a.Name, a.Shell)
		}
	}
}

func TestAccountWritesNoMachinesPasswd(t *testing.T) {
	f := image(t, 1000, map[string]string{"etc/passwd": "root:x:0:0::/:\n"})
	newAccount(f)
	data, err := os.ReadFile(filepath.Join(f.root, "etc/passwd"))
	must(t, err)
	if string(data) != "root:x:0:0::/:\n" {
		t.Fatalf("got %q", data)
	}
}

func FuzzPasswd(f *testing.F) {
	f.Add([]byte("root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/zsh"))
	f.Add([]byte("a:b:c:d:e:f:g\r\n::::::\n#x:x:1:1::/:/\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, e := range parsePasswd(data) {
			if e.name == "" || e.uid < 0 || strings.ContainsAny(e.name+e.home+e.shell, ":\n") {
				t.Fatalf("got %+v", e)
			}
			again := parsePasswd([]byte(e.line(0)))
			if len(again) != 1 || again[0] != e {
				t.Fatalf("%+v is written as %q and read as %+v", e, e.line(0), again)
			}
		}
	})
}

func TestEnvironment(t *testing.T) {
	e := workspaceEnvironment([]string{"PATH=/conda/bin", "A=1", "A=2", "broken", "SHELL=/bin/x"}, "/.keyway",
		Account{Name: "ann", Home: "/home/ann"})
	for name, want := range map[string]string{
		"PATH": "/.keyway/bin:/conda/bin", "A": "1", "USER": "ann", "HOME": "/home/ann", "SHELL": "",
		"SSH_AUTH_SOCK": "/.keyway/agent.sock", keyway.EnvHome: "/.keyway",
	} {
		if e[name] != want {
			t.Errorf("%s is %q, not %q", name, e[name], want)
		}
	}
	if path := pathWith("/a:/.keyway/bin", "/.keyway/bin"); path != "/.keyway/bin:/a" {
		t.Errorf("got %s", path)
	}
	if path := pathWith("", "/b"); path != "/b:"+defaultPath {
		t.Errorf("got %s", path)
	}
}

func TestTheImagesOwnProgramWins(t *testing.T) {
	dir := t.TempDir()
	home, image, other := keyway.Home(filepath.Join(dir, "home")), filepath.Join(dir, "image"), filepath.Join(dir, "other")
	for _, d := range []string{home.Bin(), image, other} {
		must(t, os.MkdirAll(d, 0o755))
	}
	must(t, os.WriteFile(home.Program(), nil, 0o755))
	must(t, os.Symlink(keyway.GuestProgram, filepath.Join(home.Bin(), "scp")))
	must(t, os.Symlink(home.Program(), filepath.Join(other, "scp")))
	path := strings.Join([]string{home.Bin(), other, "relative", image}, ":")
	if own := imageProgram(path, home, "scp"); own != "" {
		t.Errorf("%s stands in for itself", own)
	}
	must(t, os.WriteFile(filepath.Join(image, "scp"), nil, 0o644))
	if own := imageProgram(path, home, "scp"); own != "" {
		t.Errorf("%s cannot be run", own)
	}
	must(t, os.Chmod(filepath.Join(image, "scp"), 0o755))
	if own := imageProgram(path, home, "scp"); own != filepath.Join(image, "scp") {
		t.Errorf("got %q", own)
	}
}

func TestClientEnvironment(t *testing.T) {
	var c clientEnvironment
	for name, want := range map[string]bool{
		"LANG": true, "_x9": true, "LC_ALL": true, "": false, "9x": false, "a-b": false, "LD_PRELOAD": false, "PATH": false,
		"SSH_AUTH_SOCK": false, "KEYWAY_HOME": false, "a=b": false, "HOME": false,
	} {
		if got := c.set(name, "v"); got != want {
			t.Errorf("%q: got %v", name, got)
		}
	}
	if c.set("NUL", "a\x00b") {
		t.Error("a NUL byte was taken")
	}
	if c.set("BIG", strings.Repeat("x", maxClientEnvBytes)) {
		t.Error("too much was taken")
	}
	c = clientEnvironment{}
	taken := 0
	for i := range 2 * maxClientEnv {
		if c.set("V"+strings.Repeat("x", i), "") {
			taken++
		}
	}
	if taken > maxClientEnv {
		t.Errorf("%d variables were taken", taken)
	}
}
