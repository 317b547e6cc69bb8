//go:build linux

package proctree

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWhatIsToldOfThisProcess checks that the kernel's values about this process are those that
// the process knows.
func TestWhatIsToldOfThisProcess(t *testing.T) {
	pid := os.Getpid()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got := Program(pid); got != own {
		t.Errorf("its program is %q, want %q", got, own)
	}
	if info, err := os.Stat(own); err != nil || !Runs(pid, info) {
		t.Errorf("it does not run its program (%v)", err)
	}
	if info, err := os.Stat("/"); err != nil || Runs(pid, info) {
		t.Errorf("it runs a directory (%v)", err)
	}
	if args, err := CommandLine(pid); err != nil || !slices.Equal(args, os.Args) {
		t.Errorf("its arguments are %q, %v", args, err)
	}
	if uid, ok := Owner(pid); !ok || uid != os.Getuid() {
		t.Errorf("its user is %d, %t", uid, ok)
	}
	if !slices.Contains(PIDs(), pid) || Hidden(pid) || Traced() || IsFirst(pid) {
		t.Errorf("shown %t, hidden %t, traced %t, first %t", slices.Contains(PIDs(), pid), Hidden(pid), Traced(), IsFirst(pid))
	}
	if Boot() == "" || Name(pid) == "" {
		t.Errorf("boot %q, name %q", Boot(), Name(pid))
	}
	if groups, err := Groups(pid); err != nil || len(groups) == 0 {
		t.Errorf("its control groups are %v, %v", groups, err)
	}
}

func TestWhatIsToldOfAChild(t *testing.T) {
	cmd := exec.Command("cat") // it waits for its input during the test
	cmd.Args = []string{"a name", "", "-"}
	cmd.Env = []string{"A=1", "B=", "C=x y"}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "held")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.ExtraFiles = []*os.File{f}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	// Start may return before execve(2) has put the arguments in place: wait for the program.
	if _, err := io.WriteString(in, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if args, err := CommandLine(pid); err != nil || !slices.Equal(args, cmd.Args) {
		t.Errorf("its arguments are %q, %v", args, err)
	}
	if env, err := Environment(pid); err != nil || !slices.Equal(env, cmd.Env) {
		t.Errorf("its environment is %q, %v", env, err)
	}
	if !slices.Contains(Files(pid), file) {
		t.Errorf("it has %q open", Files(pid))
	}
	if Name(pid) != "cat" {
		t.Errorf("its name is %q", Name(pid))
	}
}

// TestWhatIsToldOfNobody checks that an ended process has no values.
func TestWhatIsToldOfNobody(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{cmd.Process.Pid, 0, -1} {
		_, read := Read(pid)
		_, args := CommandLine(pid)
		_, env := Environment(pid)
		_, groups := Groups(pid)
		for _, err := range []error{read, args, env, groups} {
			if err == nil {
				t.Errorf("process %d: no error", pid)
			}
		}
		_, owned := Owner(pid)
		if Program(pid) != "" || Name(pid) != "" || len(Files(pid)) > 0 || owned || !Hidden(pid) || IsFirst(pid) || StartTime(pid) != "" {
			t.Errorf("process %d: something is told", pid)
		}
	}
}

func TestGroups(t *testing.T) {
	for text, want := range map[string][]Group{
		"0::/paused\n":                        {{Path: "/paused"}},
		"7:pids,cpu:/a:b\n6:name=x:/\n0::/\n": {{"pids,cpu", "/a:b"}, {"name=x", "/"}, {Path: "/"}},
		"":                                    nil,
		"0":                                   nil,
		":\n":                                 nil,
	} {
		if got := parseGroups(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestStatusFields(t *testing.T) {
	s := status("Name:\tNSpid:\t1\nNSpid:\t4711\t1\nTracerPid:\t0\nSigIgn:\t0000000000000002\nbroken\n")
	if got := s.field("TracerPid"); got != "0" {
		t.Errorf("TracerPid is %q", got)
	}
	if !s.first() || s.mask("SigIgn") != 2 || s.mask("SigCgt") != 0 || s.field("broken") != "" {
		t.Errorf("first %t, SigIgn %x, SigCgt %x", s.first(), s.mask("SigIgn"), s.mask("SigCgt"))
	}
	for _, line := range []string{"", "NSpid:\t1\n", "NSpid:\t4711\t2\n", "NSpid:\n"} {
		if status(line).first() {
			t.Errorf("%q is the first of a namespace below", line)
		}
	}
}

// FuzzFiles checks arbitrary contents of each file in /proc that a process can choose.
func FuzzFiles(f *testing.F) {
	f.Add("a\x00b\x00")
	f.Add("0::/\n1:name=systemd:/user.slice\n")
	f.Add("NSpid:\t1 2\nSigIgn: ffffffffffffffff\n")
	f.Fuzz(func(t *testing.T, text string) {
		if got := words([]byte(text)); strings.Join(got, "\x00") != strings.TrimSuffix(text, "\x00") {
			t.Errorf("%q: %q", text, got)
		}
		for _, g := range parseGroups(text) {
			if strings.Contains(g.Controllers, ":") || strings.ContainsAny(g.Path, "\n") {
				t.Errorf("%q: %q", text, g)
			}
		}
		s := status(text)
		if s.first() && !strings.Contains(text, "NSpid") || s.mask("SigIgn") != 0 && !strings.Contains(text, "SigIgn") {
			t.Errorf("%q tells what it does not hold", text)
		}
	})
}

// TestOpenFiles checks that both ends of a pipe have one name.
func TestOpenFiles(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	writer := exec.Command("sleep", "1000")
	writer.Stdout = w
	reader := exec.Command("sleep", "1000")
	reader.Stdin = r
	for _, cmd := range []*exec.Cmd{writer, reader} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	}
	w.Close()
	out, in := openFiles(writer.Process.Pid), openFiles(reader.Process.Pid)
	if !feed(out, in, false) || feed(in, out, true) || feed(out, out, true) {
		t.Errorf("which feeds which: the writer has %+v, the reader %+v", out, in)
	}
}

// TestASharedSocketIsNoPipe checks that a process whose input and output are one socket does not
// read what its children print, which share the socket.
func TestASharedSocketIsNoPipe(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	defer near.Close()
	defer far.Close()
	cmd := exec.Command("sleep", "1000")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = near, near, near
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if files := openFiles(cmd.Process.Pid); feed(files, files, true) {
		t.Errorf("it feeds itself: %+v", files)
	}
}
