//go:build linux

package keyway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParseName(t *testing.T) {
	for _, good := range []string{"a", "train", "exp-7", "a.b_c", "7", strings.Repeat("x", MaxName)} {
		if n, err := ParseName(good); err != nil || string(n) != good {
			t.Errorf("%q: %q, %v", good, n, err)
		}
	}
	for bad, offer := range map[string]string{
		"": "example name train", "Train": "train", "my job": "my-job", "-rf": "rf", "../etc": "etc", "a/b": "a-b", "größe": "gre",
		"a\nb": "ab", "%h": "h", "*": "", "\xff": "", ".hidden": "hidden", strings.Repeat("x", MaxName+1): "",
	} {
		_, err := ParseName(bad)
		e := AsError(err)
		if !Is(err, Usage) || !strings.Contains(e.Help(), offer) {
			t.Errorf("%q: %v → %q, want %q offered", bad, err, e.Help(), offer)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"train", "My Job", "-x", "a/../b", "é", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			return
		}
		if string(n) != s || strings.ContainsAny(s, "/\\ \t\r\n\x00*?!%'\"$") || strings.HasPrefix(s, "-") || strings.HasPrefix(s, ".") {
			t.Errorf("%q is a name", s)
		}
	})
}

func TestParsePlace(t *testing.T) {
	for _, good := range []string{"local", "gpu1", "ada@gpu1.example.org", "10.0.0.1", "[::1]", "a_b-c", "büro", `CORP\ada@gpu1`, "ada@corp.example.com@gpu1"} {
		if p, err := ParsePlace(good); err != nil || string(p) != good {
			t.Errorf("%q: %v", good, err)
		}
	}
	// Names that ssh would take for an option, or that mean something to a shell or to
	// ssh_config.
	for _, bad := range []string{"", "-oProxyCommand=x", "-", "a b", "a;b", "$(x)", "a\nb", "a\x00", "`x`", "a|b", "a'b", "a/b", `a\b`, `\ada@gpu1`, `ada\@gpu1`, `CORP\\ada@gpu1`, `ada@g\pu1`, strings.Repeat("x", 256)} {
		if _, err := ParsePlace(bad); !Is(err, Usage) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParseMount(t *testing.T) {
	for in, want := range map[string]Mount{
		"/data:/mnt/data":       {Source: "/data", Target: "/mnt/data"},
		"/data:/mnt/data:ro":    {Source: "/data", Target: "/mnt/data", ReadOnly: true},
		"/data:/mnt//data/:rw":  {Source: "/data", Target: "/mnt/data"},
		"cache:/mnt/x":          {Kind: MountVolume, Source: "cache", Target: "/mnt/x"},
		"/with space:/mnt/x:ro": {Source: "/with space", Target: "/mnt/x", ReadOnly: true},
	} {
		if got, err := ParseMount(in); err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "/data", "./data:/mnt", "da/ta:/mnt", "/data:mnt", "/data:/", "/a:/b:/c", "/a:/b:xx", ":/x", "/x:", "/a:/b:ro:z"} {
		if _, err := ParseMount(bad); !Is(err, Usage) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParseGPUs(t *testing.T) {
	for in, want := range map[string]string{
		"": "none", "none": "none", "0": "none", "all": "all", "2": "2",
		"GPU-8f6a,GPU-91bc": "GPU-8f6a,GPU-91bc", "device=0,3": "device=0,3", "MIG-1": "MIG-1", "device=0:1,1": "device=0:1,1",
		"device=1": "device=1", "device=GPU-8f6a": "GPU-8f6a", "device=GPU-8f6a,1": "device=GPU-8f6a,1",
		// the values of docker run --gpus
		`"device=0,2"`: "device=0,2", `'"device=0,2"'`: "device=0,2", `"device=0,2","capabilities=compute,utility"`: "device=0,2", "count=2": "2", "count=all": "all", "count=-1": "all",
		"all,capabilities=utility": "all", "driver=nvidia,count=all": "all", "driver=nvidia,2": "2", "capabilities=compute": "1", "device=all": "all", "driver=nvidia": "1",
		"device=MIG-GPU-8f6a/1/0": "MIG-GPU-8f6a/1/0", "device=MIG-c6d4": "MIG-c6d4", "count=0": "none",
		"driver=cdi,device=nvidia.com/gpu=0": "device=0", "device=nvidia.com/gpu=0,nvidia.com/gpu=1:0": "device=0,1:0", "device=nvidia.com/gpu=all": "all",
	} {
		if got, err := ParseGPUs(in); err != nil || got.String() != want {
			t.Errorf("%q: %s, %v", in, got, err)
		}
	}
	for _, bad := range []string{"-1", "some", "0,3", "GPU-a b", "device=", "GPU-1,", "99999", "device=0:", "device=:1", "device=0:x", "device=0:1:2", "0:1",
		"count=1,device=0", "device=0,count=1", "count=1,count=2", "count=x", "count=", "capabilities=video", "driver=amd", "options=a", "device=all,0", "nvidia.com/gpu=0", "count=nvidia.com/gpu=1",
		"capabilities=gpu,2", "memory=8g", "count=-2"} {
		if got, err := ParseGPUs(bad); !Is(err, Usage) {
			t.Errorf("%q: %s, %v", bad, got, err)
		}
	}
}

func FuzzParseGPUs(f *testing.F) {
	for _, s := range []string{"all", "2", "GPU-1,GPU-2", "device=0,1", ",", "device=GPU-x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, err := ParseGPUs(s)
		if err != nil {
			return
		}
		if again, err := ParseGPUs(g.String()); err != nil || !reflect.DeepEqual(again, g) {
			t.Errorf("%q became %+v, which becomes %+v, %v", s, g, again, err)
		}
	})
}

func TestTheZeroSpecIsRefused(t *testing.T) {
	if err := (Spec{}).Validate(); err == nil {
		t.Error("accepted")
	}
	good := Spec{Name: "x", Access: Access{AuthorizedKeys: []string{"ssh-ed25519 AAAA"}}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*Spec){
		"no keys":          func(s *Spec) { s.AuthorizedKeys = nil },
		"a key of 2 lines": func(s *Spec) { s.AuthorizedKeys = []string{"a\nb"} },
		"negative shm":     func(s *Spec) { s.ShmSize = -1 },
		"bad variable":     func(s *Spec) { s.Env = map[string]string{"A=B": ""} },
		"NUL in variable":  func(s *Spec) { s.Env = map[string]string{"A": "\x00"} },
		"mounts collide":   func(s *Spec) { s.Mounts = []Mount{{Source: "/a", Target: "/x"}, {Source: "/b", Target: "/x"}} },
		"too many mounts":  func(s *Spec) { s.Mounts = make([]Mount, maxMounts+1) },
	} {
		bad := good
		change(&bad)
		if bad.Validate() == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func TestErrorsTravelAsJSON(t *testing.T) {
	e := Errorf(NoSpace, "no space left to write %s: %w", "/x", io.ErrShortWrite).Hint("df -h %s", "/x")
	if !errors.Is(e, io.ErrShortWrite) {
		t.Error("the cause is lost")
	}
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var back *Error
	if err := json.Unmarshal(data, &back); err != nil || back.Kind != NoSpace || back.Message != e.Message || back.Next != e.Next {
		t.Errorf("%s became %+v, %v", data, back, err)
	}
}

func TestExitCodes(t *testing.T) {
	seen := map[int]Kind{}
	for kind, code := range exitCodes {
		if other, ok := seen[code]; ok {
			t.Errorf("%s and %s both exit with %d", kind, other, code)
		}
		seen[code] = kind
	}
	for err, want := range map[error]int{
		nil: 0, errors.New("x"): 1, fmt.Errorf("wrapped: %w", Errorf(NameTaken, "x")): 24, context.Canceled: 130,
		Errorf("a kind of the future", "x"): 1,
	} {
		if got := ExitCode(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

func TestDecodeInfoIsBounded(t *testing.T) {
	const good = `{"user":"dev","uid":1000,"home":"/home/dev","version":"1.2","hostKey":"ssh-ed25519 AAAA"}`
	if i, err := DecodeInfo(strings.NewReader(good)); err != nil || i.User != "dev" || i.UID != 1000 || i.HostKey != "" {
		t.Errorf("%+v, %v", i, err)
	}
	for what, text := range map[string]string{
		"broken":                    "{",
		"too long":                  good + strings.Repeat(" ", maxInfo),
		"a long text":               `{"user":"` + strings.Repeat("x", maxInfoText+1) + `"}`,
		"no user":                   `{"uid":1000}`,
		"a user that is an option":  `{"user":"-oProxyCommand=evil"}`,
		"a user of two words":       `{"user":"dev evil"}`,
		"a user with a token":       `{"user":"%h"}`,
		"a user with a variable":    `{"user":"${HOME}"}`,
		"a user with a quote":       `{"user":"de'v"}`,
		"a user with a line":        `{"user":"dev\nProxyCommand evil"}`,
		"a home with an escape":     `{"user":"dev","home":"/\u001b[2J"}`,
		"a shell with a C1 control": `{"user":"dev","shell":"/bin/\u009b2J"}`,
		"a version that reverses":   `{"user":"dev","version":"\u202e"}`,
	} {
		if i, err := DecodeInfo(strings.NewReader(text)); err == nil {
			t.Errorf("%s is accepted: %+v", what, i)
		}
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"one", "two"} {
		if err := WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		info, _ := os.Stat(path)
		if err != nil || string(got) != text || info.Mode().Perm() != 0o640 {
			t.Errorf("%q, %v, %v", got, info.Mode(), err)
		}
	}
	if err := WriteFile(filepath.Join(dir, "none", "f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// TestWriteFileWithoutSpace checks that the old content stays on a full file system, and that the
// error names the next step.
func TestWriteFileWithoutSpace(t *testing.T) {
	path := "/dev/full"
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err) // exists on every Linux
	}
	defer f.Close()
	_, err = f.Write([]byte("x"))
	if !IsNoSpace(err) {
		t.Errorf("%v is not recognised", err)
	}
}
