package installed

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// links is a file system of the standard library's.
type links struct{ fs.ReadLinkFS }

func (l links) Stat(name string) (fs.FileInfo, error)  { return fs.Stat(l.ReadLinkFS, name) }
func (l links) LinkTarget(name string) (string, error) { return l.ReadLink(name) }

// onDisk returns a directory with the given files. A text that begins with an arrow makes a
// symbolic link to the rest of the text.
func onDisk(t *testing.T, files map[string]string) Tracked {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		at := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		if target, link := strings.CutPrefix(text, "→"); link && err == nil {
			err = os.Symlink(target, at)
		} else if err == nil {
			err = os.WriteFile(at, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return links{os.DirFS(dir).(fs.ReadLinkFS)}
}

// TestWhatIsApart changes a copy of an image in one way each. It checks that a list of the image's
// software is used again only if it is certainly the same.
func TestWhatIsApart(t *testing.T) {
	image := onDisk(t, map[string]string{
		"lib":             "→usr/lib",
		"usr/local/lib":   "→../../opt/hop",
		"opt/hop":         "→real",
		"usr/lib/x":       "",
		"opt/real/marker": "",
		"opt/real/python3.11/site-packages/numpy-2.1.0.dist-info/METADATA": "",
		"var/lib/dpkg/status": "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\n",
	})
	trace := Follow(image)
	s, err := Read(trace, Where{Path: "/usr/local/bin:/usr/bin:/bin", PythonPath: "/mnt/code"})
	if err != nil || len(s.Python) != 1 || len(s.System) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	looked, err := trace.Looked()
	if err != nil {
		t.Fatal(err)
	}
	site := "/opt/real/python3.11/site-packages"
	for name, c := range map[string]struct {
		paths    []string // + added or removed, ~ modified
		mounted  []string
		anything bool
	}{
		"nothing":                               {nil, nil, false},
		"a file of a user":                      {[]string{"+/workspace", "+/workspace/x"}, []string{"/data", "/.keyway"}, false},
		"accounts":                              {[]string{"~/etc", "~/etc/passwd"}, nil, false},
		"a program":                             {[]string{"~/usr", "~/usr/bin", "+/usr/bin/tool"}, nil, false},
		"deep in a package":                     {[]string{"~/opt", "~/opt/real", "~/opt/real/python3.11", "~" + site, "~" + site + "/numpy", "+" + site + "/numpy/x.so"}, nil, true},
		"a package":                             {[]string{"~" + site, "+" + site + "/wandb-1.dist-info"}, nil, true},
		"a package, without its directory":      {[]string{"+" + site + "/wandb-1.dist-info"}, nil, true},
		"dpkg":                                  {[]string{"~/var", "~/var/lib", "~/var/lib/dpkg", "~/var/lib/dpkg/status"}, nil, true},
		"apk, behind a link":                    {[]string{"+/usr/lib/apk", "+/usr/lib/apk/db", "+/usr/lib/apk/db/installed"}, nil, true},
		"another Python":                        {[]string{"~/opt/real", "+/opt/real/python3.12"}, nil, true},
		"a link on the way":                     {[]string{"~/opt/hop"}, nil, true},
		"the first link":                        {[]string{"-/usr/local/lib"}, nil, true},
		"a directory that became a link":        {[]string{"~/opt/real"}, nil, true},
		"a directory above that was made again": {[]string{"-/var", "+/var"}, nil, true},
		"a mount above":                         {nil, []string{"/usr/local"}, true},
		"a mount on it":                         {nil, []string{"/mnt/code/"}, true},
		"a mount below it":                      {nil, []string{site + "/mine"}, true},
		"a mount beside it":                     {nil, []string{"/mnt/other", "/root", "/tmp"}, false},
	} {
		var changes []Change
		for _, p := range c.paths {
			changes = append(changes, Change{p[1:], p[0] == '~'})
		}
		if got := looked.Apart(changes, c.mounted); got == c.anything {
			t.Errorf("%s: apart is %v", name, got)
		}
	}
}

// TestWhatIsNotRemembered checks file systems with loops or with too many files.
func TestWhatIsNotRemembered(t *testing.T) {
	circle := Follow(onDisk(t, map[string]string{"a": "→b", "b": "→a"}))
	_, _ = circle.Open("a/x")
	if _, err := circle.Looked(); err == nil {
		t.Error("a circle is followed to its end")
	}
	trace := Follow(onDisk(t, nil))
	for i := range maxLooked + 10 {
		_, _ = trace.Stat("var/lib/dpkg/status.d/" + strconv.Itoa(i))
	}
	if _, err := trace.Looked(); err == nil {
		t.Error("too many files are remembered")
	}
}

// TestAbsoluteLinks checks that absolute links are followed from the root of their file system,
// even if they lead above it.
func TestAbsoluteLinks(t *testing.T) {
	with := fstest.MapFS{"etc/python": {Data: []byte("/opt/../../data/link/../python"), Mode: os.ModeSymlink | 0o777}, "data/link": {Data: []byte("/srv/x/"), Mode: os.ModeSymlink | 0o777}}
	trace := Follow(links{with})
	trace.note("etc/python/site-packages")
	looked, err := trace.Looked()
	if err != nil || !looked.at["/srv/python/site-packages"] || !looked.above["/etc/python"] || !looked.above["/data/link"] {
		t.Errorf("%+v, %v", looked, err)
	}
}
