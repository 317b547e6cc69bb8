//go:build linux

package guest

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sink feeds input to scp -t and returns its answers and exit status.
func sink(t *testing.T, input string, args ...string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	code := scpMain(args, strings.NewReader(input), &out, io.Discard)
	return out.String(), code
}

func TestSCPSinkRefuses(t *testing.T) {
	for _, input := range []string{
		"C0644 3 ../evil\nabc\x00", "C0644 3 ..\nabc\x00", "C0644 3 a/b\nabc\x00", "C0644 3 \nabc\x00", "C644 3 a\nabc\x00",
		"C0999 3 a\nabc\x00", "C0644 -1 a\n", "C0644 99999999999999999999 a\n", "C0644 3 a", "C0644 9 a\nabc",
		"D0755 0 d\n", "X\n", "E\n", "T1 0\n", "T-1 0 0 0\n", "\x02the end\n", "C" + strings.Repeat("0", maxSCPLine+1) + "\n",
	} {
		dir := t.TempDir()
		target := filepath.Join(dir, "target")
		must(t, os.Mkdir(target, 0o755))
		if out, code := sink(t, input, "-t", target); code == 0 {
			t.Errorf("%.40q was taken: %q", input, out)
		}
		entries, err := os.ReadDir(dir)
		must(t, err)
		if len(entries) != 1 {
			t.Errorf("%q left %v", input, entries)
		}
	}
}

func TestSCPSinkIsBoundedInDepth(t *testing.T) {
	_, code := sink(t, strings.Repeat("D0755 0 d\n", maxSCPDepth+2), "-r", "-t", t.TempDir())
	if code == 0 {
		t.Fatal("any depth is taken")
	}
}

func TestSCPSinkGoesOnAfterAComplaint(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "taken"), 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "taken", "a"), 0o755))
	out, code := sink(t, "C0644 1 a\nC0644 2 b\nxy\x00", "-t", filepath.Join(dir, "taken"))
	data, err := os.ReadFile(filepath.Join(dir, "taken", "b"))
	if code != 1 || !strings.Contains(out, "\x01scp: ") || err != nil || string(data) != "xy" {
		t.Fatalf("exit %d, %q, %q, %v", code, out, data, err)
	}
}

func TestSCPOptions(t *testing.T) {
	for _, args := range []string{"", "-t", "-f", "-t -f x", "-t a b", "-x -t a", "-", "x"} {
		if o, err := parseSCP(strings.Fields(args)); err == nil {
			t.Errorf("%q: got %+v", args, o)
		}
	}
	o, err := parseSCP(strings.Fields("-rp -d -v -t -- -x"))
	must(t, err)
	if !o.sink || !o.recursive || !o.times || !o.directory || len(o.paths) != 1 || o.paths[0] != "-x" {
		t.Errorf("got %+v", o)
	}
}

func TestSCPSourceTellsWhenAFileShrinks(t *testing.T) {
	var out bytes.Buffer
	s := &scpSource{scpPeer: &scpPeer{out: &out}}
	problem, err := s.content(strings.NewReader("abc"), 10)
	if err != nil || problem == nil || out.String() != "abc\x00\x00\x00\x00\x00\x00\x00" {
		t.Fatalf("%q, %v, %v", out.String(), problem, err)
	}
}

// FuzzSCPSink checks that nothing is written outside the target, whatever the client sends.
func FuzzSCPSink(f *testing.F) {
	f.Add([]byte("T1 0 1 0\nC0644 3 a\nabc\x00"))
	f.Add([]byte("D0755 0 d\nC0644 3 a\nabc\x00E\n"))
	f.Add([]byte("C0644 1 ..\nx\x00\x01warning\n\x02fatal\n"))
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > 1<<16 {
			return
		}
		dir := t.TempDir()
		target := filepath.Join(dir, "target")
		must(t, os.Mkdir(target, 0o755))
		scpMain([]string{"-r", "-p", "-t", target}, bytes.NewReader(input), io.Discard, io.Discard)
		entries, err := os.ReadDir(dir)
		must(t, err)
		if len(entries) != 1 {
			t.Fatalf("%q left %v", input, entries)
		}
		_ = os.Chmod(target, 0o755)
	})
}

func FuzzSCPEntry(f *testing.F) {
	f.Add("C0644 3 a")
	f.Add("D4755 0 a b")
	f.Fuzz(func(t *testing.T, line string) {
		if line == "" {
			return
		}
		e, err := parseSCPEntry(line)
		if err == nil && (e.size < 0 || filepath.Base(e.name) != e.name || e.name == "." || e.name == "..") {
			t.Fatalf("%q: got %+v", line, e)
		}
		if times, err := parseSCPTimes("T" + line); err == nil && (times.modified < 0 || times.accessed < 0) {
			t.Fatalf("%q: got %+v", line, times)
		}
	})
}
