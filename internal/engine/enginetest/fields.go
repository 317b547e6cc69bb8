//go:build linux

package enginetest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

// A field is a case of the rule that no field of a Spec is dropped without a word: it
// takes effect, or it is refused by name with a next step.
type field struct {
	leaves []string // the fields that ask sets, as leaves names them
	option string   // the name in a refusal: the option without dashes
	ask    func(t *testing.T, s Subject, spec *keyway.Spec)
	// see returns an error unless the requested value has taken effect, seen from inside w. It is
	// tried on a workspace that did not ask for it, too.
	see func(t *testing.T, s Subject, w keyway.Workspace) error
	// always says that a workspace which did not ask for it looks the same.
	always bool
	// told is a notice that Create may print instead of a refusal; empty: none.
	told string
}

// Fields tests the contract for every field of a Spec.
func Fields(t *testing.T, s Subject) {
	cases := fieldCases()
	if missing := unhandled(reflect.TypeFor[keyway.Spec](), cases); len(missing) > 0 {
		t.Errorf("no case says how these fields are seen from inside, or refused: %q", missing)
	}
	plain := s.Create(t, s.Spec(t, "plain"))
	for _, f := range cases {
		if !s.Spec(t, "also").GPUs.None() && strings.HasPrefix(f.leaves[0], "Resources.GPUs.") {
			continue // every workspace asks for some; GPUs is the test of that
		}
		t.Run(f.leaves[0], func(t *testing.T) { f.test(t, s, plain) })
	}
}

func (f field) test(t *testing.T, s Subject, plain keyway.Workspace) {
	spec := s.Spec(t, "field")
	f.ask(t, s, &spec)
	for _, leaf := range f.leaves {
		if !asks(reflect.ValueOf(spec), strings.Split(leaf, ".")) {
			t.Fatalf("the case does not set %s", leaf)
		}
	}
	var news strings.Builder
	made, err := s.Engine.Create(Context(t), spec, func(p keyway.Progress) { fmt.Fprintln(&news, p.Message) })
	if err != nil {
		if said := keyway.AsError(err); said.Help() == "" || said.Kind == keyway.Other || !strings.Contains(strings.ToLower(said.Message+"\n"+said.Help()), f.option) {
			t.Errorf("it is refused without naming %s, a kind or a next step: %v", f.option, Full(err))
		}
		t.Logf("refused: %s", Full(err))
		s.WantNothingOf(t, spec.Name)
		return
	}
	defer func() {
		if err := s.Engine.Remove(Context(t), spec.Name); err != nil {
			t.Error(Full(err))
		}
	}()
	if f.told != "" && strings.Contains(news.String(), f.told) {
		return
	}
	if err := f.awaitEffect(t, s, made); err != nil {
		t.Errorf("it is neither refused nor so: %v", err)
	}
	if !f.always && f.see(t, s, plain) == nil {
		t.Error("a workspace that did not ask for it looks the same")
	}
}

// awaitEffect looks for a while: a command that runs beside the guest takes its time.
func (f field) awaitEffect(t *testing.T, s Subject, w keyway.Workspace) error {
	ctx, cancel := context.WithTimeout(Context(t), time.Minute)
	defer cancel()
	for {
		err := f.see(t, s, w)
		if err == nil || sleep.For(ctx, 50*time.Millisecond) != nil {
			return err
		}
	}
}

// leaves returns the paths of a struct's fields that are not structs of keyway's own. Fields of a
// list's elements count as fields of the list.
func leaves(typ reflect.Type, prefix string) []string {
	var all []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		inner := f.Type
		for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Map {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			all = append(all, leaves(inner, prefix+f.Name+".")...)
		} else {
			all = append(all, prefix+f.Name)
		}
	}
	return all
}

// unhandled returns the leaves that no case sets.
func unhandled(typ reflect.Type, cases []field) []string {
	return slices.DeleteFunc(leaves(typ, ""), func(leaf string) bool {
		return slices.ContainsFunc(cases, func(f field) bool { return slices.Contains(f.leaves, leaf) })
	})
}

// asks reports whether the field at that path is set.
func asks(v reflect.Value, path []string) bool {
	if v.Kind() == reflect.Slice && len(path) > 0 {
		for i := range v.Len() {
			if asks(v.Index(i), path) {
				return true
			}
		}
		return false
	}
	if len(path) == 0 {
		return !v.IsZero()
	}
	return asks(v.FieldByName(path[0]), path[1:])
}

// want returns an error unless the tool prints the text.
func want(t *testing.T, s Subject, w keyway.Workspace, command, text string) error {
	if got, err := s.Try(t, w, command); err != nil || got != text {
		return fmt.Errorf("%s: %q, %v; want %q", command, got, err, text)
	}
	return nil
}

// wantLine returns an error unless the file inside has the line, apart from spaces.
func wantLine(t *testing.T, s Subject, w keyway.Workspace, file, line string) error {
	text, err := s.Try(t, w, "cat "+file)
	for l := range strings.Lines(text) {
		if strings.Join(strings.Fields(l), " ") == line {
			return nil
		}
	}
	return fmt.Errorf("%s has no line %q, %v:\n%s", file, line, err, text)
}

// wantLimit returns an error unless one file of the cgroup, or some beside each other,
// hold the text: that of version 2, or those of version 1.
func wantLimit(t *testing.T, s Subject, w keyway.Workspace, text string, files ...string) error {
	var said []error
	for _, file := range files {
		got, err := s.Try(t, w, "cat /sys/fs/cgroup/"+strings.ReplaceAll(file, " ", " /sys/fs/cgroup/"))
		got = strings.Join(strings.Fields(got), " ")
		if err == nil && got == text {
			return nil
		}
		said = append(said, fmt.Errorf("%s: %q, %v; want %q", file, got, err, text))
	}
	return errors.Join(said...)
}

// wantCapability returns an error unless a program can have the capability of that number.
func wantCapability(t *testing.T, s Subject, w keyway.Workspace, number int) error {
	text, err := s.Try(t, w, "cat /proc/self/status")
	if err != nil {
		return err
	}
	_, bounding, _ := strings.Cut(text, "CapBnd:")
	bounding, _, _ = strings.Cut(bounding, "\n")
	set, err := strconv.ParseUint(strings.TrimSpace(bounding), 16, 64)
	if err != nil || set>>number&1 == 0 {
		return fmt.Errorf("the bounding set is %q, %v", bounding, err)
	}
	return nil
}

func wantGPU(t *testing.T, s Subject, w keyway.Workspace) error {
	devices, err := s.Try(t, w, "ls /dev")
	if err != nil || !slices.Contains(strings.Fields(devices), "nvidia0") {
		return fmt.Errorf("/dev has no nvidia0, %v:\n%s", err, devices)
	}
	return nil
}

// secondKey is of a colleague who may enter, too.
var secondKey = func() ssh.Signer {
	seed := make([]byte, ed25519.SeedSize)
	signer, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		panic(err)
	}
	return signer
}()

// homeInside returns where the workspace of a case finds its Home.
func (s Subject) homeInside(name keyway.Name) string {
	if s.Home != nil {
		return s.Home(name)
	}
	return string(keyway.GuestHome)
}

// fieldCases returns a case for every field of a Spec.
func fieldCases() []field {
	return slices.Concat(identityFields(), resourceFields(), fileFields(), processFields(), sharingFields(), templateFields())
}

func identityFields() []field {
	return []field{
		{
			leaves: []string{"Name"}, option: "name",
			ask: func(*testing.T, Subject, *keyway.Spec) {},
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				return want(t, s, w, "env "+keyway.EnvName, "field")
			},
		},
		{
			leaves: []string{"Engine"}, option: "engine", always: true,
			ask: func(_ *testing.T, s Subject, spec *keyway.Spec) { spec.Engine = s.Engine.Name() },
			see: func(_ *testing.T, s Subject, w keyway.Workspace) error {
				if w.Engine != s.Engine.Name() {
					return fmt.Errorf("it is run by %s", w.Engine)
				}
				return nil
			},
		},
		{
			leaves: []string{"Image"}, option: "image", always: true, told: "is not used",
			ask: func(_ *testing.T, s Subject, spec *keyway.Spec) {
				if spec.Image = s.Image; s.Image == "" {
					spec.Image = "some/image"
				}
			},
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				if w.Image != s.Image {
					return fmt.Errorf("it is made from %q", w.Image)
				}
				_, err := s.Try(t, w, "pwd") // by the one program that the image has
				return err
			},
		},
		{
			leaves: []string{"Command"}, option: "command",
			ask: func(_ *testing.T, s Subject, spec *keyway.Spec) {
				spec.Command = []string{s.Tool, "mark", s.homeInside(spec.Name) + "/marked"}
			},
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				return want(t, s, w, "cat "+s.homeInside(w.Name)+"/marked", "marked")
			},
		},
		{
			leaves: []string{"Access.AuthorizedKeys"}, option: "key",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) {
				spec.AuthorizedKeys = append(spec.AuthorizedKeys, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(secondKey.PublicKey()))))
			},
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				c, err := s.enterWith(Context(t), w, secondKey)
				if err == nil {
					c.Close()
				}
				return err
			},
		},
		{
			leaves: []string{"Access.ForwardAgent"}, option: "forward-agent",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) { spec.ForwardAgent = true },
			see: func(t *testing.T, s Subject, w keyway.Workspace) error { // ssh does it, by what List tells
				if now, _ := s.State(t, w.Name); !now.ForwardAgent {
					return errors.New("it is not told by List")
				}
				return nil
			},
		},
	}
}

func resourceFields() []field {
	gpu := func(leaf string, set func(*keyway.GPUs)) field {
		return field{
			leaves: []string{"Resources.GPUs." + leaf}, option: "gpus", see: wantGPU,
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) { set(&spec.GPUs) },
		}
	}
	return []field{
		gpu("All", func(g *keyway.GPUs) { g.All = true }),
		gpu("Count", func(g *keyway.GPUs) { g.Count = 1 }),
		gpu("Wait", func(g *keyway.GPUs) { g.Count, g.Wait = 1, true }), // GPUs has the queue
		gpu("IDs", func(g *keyway.GPUs) { g.IDs = []string{"0"} }),
		{
			leaves: []string{"Resources.CPUs"}, option: "cpus",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) { spec.CPUs = 0.75 },
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				return wantLimit(t, s, w, "75000 100000", "cpu.max", "cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us")
			},
		},
		{
			leaves: []string{"Resources.Memory"}, option: "memory",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) { spec.Memory = 768 << 20 },
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				return wantLimit(t, s, w, strconv.Itoa(768<<20), "memory.max", "memory/memory.limit_in_bytes")
			},
		},
		{
			leaves: []string{"Resources.ShmSize"}, option: "shm-size",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) { spec.ShmSize = 96 << 20 },
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				return want(t, s, w, "shm", strconv.Itoa(96<<20))
			},
		},
		{
			leaves: []string{"Resources.Ulimits.Name", "Resources.Ulimits.Soft", "Resources.Ulimits.Hard"}, option: "ulimit",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) {
				// Podman raises those of files and processes that are not given, which this
				// machine may not allow.
				spec.Ulimits = []keyway.Ulimit{{Name: "core", Soft: 4096, Hard: 8192}, own("nofile", unix.RLIMIT_NOFILE), own("nproc", unix.RLIMIT_NPROC)}
			},
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				return wantLine(t, s, w, "/proc/self/limits", "Max core file size 4096 8192 bytes")
			},
		},
		{
			leaves: []string{"Resources.PidsLimit"}, option: "pids-limit",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) { spec.PidsLimit = 777 },
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				return wantLimit(t, s, w, "777", "pids.max", "pids/pids.max")
			},
		},
	}
}

// own returns the limit that applies to the tests themselves.
func own(name string, resource int) keyway.Ulimit {
	var r unix.Rlimit
	if err := unix.Getrlimit(resource, &r); err != nil || r.Max > math.MaxInt64 {
		return keyway.Ulimit{Name: name, Soft: -1, Hard: -1}
	}
	return keyway.Ulimit{Name: name, Soft: int64(r.Max), Hard: int64(r.Max)}
}

func fileFields() []field {
	mounted := func(readOnly bool) func(*testing.T, Subject, *keyway.Spec) {
		return func(t *testing.T, _ Subject, spec *keyway.Spec) {
			dir := t.TempDir()
			if err := errors.Join(os.Chmod(dir, 0o777), os.WriteFile(filepath.Join(dir, "file"), []byte("data"), 0o644)); err != nil {
				t.Fatal(err)
			}
			spec.Mounts = []keyway.Mount{{Source: dir, Target: "/mnt/asked", ReadOnly: readOnly}}
		}
	}
	return []field{
		{
			leaves: []string{"Files.Mounts.Source", "Files.Mounts.Target"}, option: "volume", ask: mounted(false),
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				if err := want(t, s, w, "cat /mnt/asked/file", "data"); err != nil {
					return err
				}
				return want(t, s, w, "write /mnt/asked/new text", "")
			},
		},
		{
			leaves: []string{"Files.Mounts.ReadOnly"}, option: "volume", ask: mounted(true),
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				if err := want(t, s, w, "cat /mnt/asked/file", "data"); err != nil {
					return err
				}
				return wantReadOnly(t, s, w, "/mnt/asked/new")
			},
		},
		{
			leaves: []string{"Files.Workdir"}, option: "workdir",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) { spec.Workdir = "/dev" },
			see: func(t *testing.T, s Subject, w keyway.Workspace) error { return want(t, s, w, "pwd", "/dev") },
		},
		{
			leaves: []string{"Files.ReadOnly"}, option: "read-only",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) { spec.ReadOnly = true },
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				return wantReadOnly(t, s, w, "/keyway-wrote-here")
			},
		},
	}
}

// wantReadOnly returns an error unless writing to path fails, and for that reason.
func wantReadOnly(t *testing.T, s Subject, w keyway.Workspace, path string) error {
	if _, err := s.Try(t, w, "write "+path+" text"); err == nil || !strings.Contains(err.Error(), "read-only file system") {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func processFields() []field {
	const sysPtrace = 19 // CAP_SYS_PTRACE, include/uapi/linux/capability.h
	return []field{
		{
			leaves: []string{"Process.User"}, option: "user",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) { spec.User = "12345:54321" },
			see: func(t *testing.T, s Subject, w keyway.Workspace) error { return want(t, s, w, "id", "12345:54321") },
		},
		{
			leaves: []string{"Process.Env"}, option: "env",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) {
				spec.Env = map[string]string{"ASKED": "two words, an = and a 'quote'"}
			},
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				return want(t, s, w, "env ASKED", "two words, an = and a 'quote'")
			},
		},
		{
			leaves: []string{"Process.Unset"}, option: "env",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) { spec.Unset = []string{Given, "NOT_THERE"} },
			see: func(t *testing.T, s Subject, w keyway.Workspace) error { return want(t, s, w, "env "+Given, "") },
		},
		{
			leaves: []string{"Process.CapAdd"}, option: "cap-add",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) { spec.CapAdd = []string{"SYS_PTRACE"} },
			see: func(t *testing.T, s Subject, w keyway.Workspace) error { return wantCapability(t, s, w, sysPtrace) },
		},
		{
			leaves: []string{"Process.NewPrivileges"}, option: "security-opt",
			ask: func(_ *testing.T, _ Subject, spec *keyway.Spec) { spec.NewPrivileges = true },
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				return wantLine(t, s, w, "/proc/self/status", "NoNewPrivs: 0")
			},
		},
	}
}

// sharingFields share resources of the place that a workspace does not have by default.
func sharingFields() []field {
	var shared string // name of a file in the place's /dev/shm
	var port int      // that listens on the place's loopback
	return []field{
		{
			leaves: []string{"Process.IPC"}, option: "ipc",
			ask: func(t *testing.T, _ Subject, spec *keyway.Spec) {
				f, err := os.CreateTemp("/dev/shm", "keyway-test-*")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { os.Remove(f.Name()) })
				f.Close()
				shared, spec.IPC = filepath.Base(f.Name()), keyway.IPCHost
			},
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				files, err := s.Try(t, w, "ls /dev/shm")
				if err != nil || !slices.Contains(strings.Fields(files), shared) {
					return fmt.Errorf("/dev/shm has no %s, %v: %q", shared, err, files)
				}
				return nil
			},
		},
		{
			leaves: []string{"Process.Network"}, option: "network",
			ask: func(t *testing.T, _ Subject, spec *keyway.Spec) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { l.Close() })
				port, spec.Network = l.Addr().(*net.TCPAddr).Port, keyway.NetworkHost
			},
			see: func(t *testing.T, s Subject, w keyway.Workspace) error {
				text, err := s.Try(t, w, "cat /proc/self/net/tcp")
				if listens := fmt.Sprintf("0100007F:%04X 00000000:0000 0A", port); !strings.Contains(text, listens) {
					return fmt.Errorf("there is no %q, %v:\n%s", listens, err, text)
				}
				return nil
			},
		},
	}
}
