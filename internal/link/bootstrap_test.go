package link

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// greeter is a program that greets as a node does.
const greeter = "#!/bin/sh\necho keyway-node 1 test \"$@\"\ncat >/dev/null\n"

func programOf(text string) Programs {
	sum := sha256.Sum256([]byte(text))
	return Programs{runtime.GOARCH: {Hash: hex.EncodeToString(sum[:]), Open: func() (io.ReadCloser, int64, error) {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		io.WriteString(z, text)
		z.Close()
		return io.NopCloser(&packed), int64(packed.Len()), nil
	}}}
}

// runScript acts as the place: it passes the command to the login shell as sshd does, in an
// environment of its own.
func runScript(t *testing.T, shell []string, programs Programs, fresh bool, env ...string) (said []keyway.Progress, stderr string, err error) {
	t.Helper()
	cmd := exec.Command(shell[0], append(shell[1:], "-c", bootstrapCommand(programs.hash("amd64"), programs.hash("arm64"), fresh))...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	p, err := startProcess(cmd, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = bootstrap{"gpu1", scriptWord, programs, func(p keyway.Progress) { said = append(said, p) }, func(string) {}}.greeted(p.out, p.conn)
	p.stop()
	return said, p.errors.String(), err
}

func shells(t *testing.T) map[string][]string {
	found := map[string][]string{}
	for name, argv := range map[string][]string{"dash": {"dash"}, "bash": {"bash"}, "busybox": {"busybox", "sh"}, "ksh": {"mksh"}, "csh": {"tcsh"}, "fish": {"fish"}} {
		if _, err := exec.LookPath(argv[0]); err == nil {
			found[name] = argv
		}
	}
	if len(found) < 3 {
		t.Fatalf("only these shells are installed: %v", found)
	}
	return found
}

func TestBootstrapScript(t *testing.T) {
	for name, shell := range shells(t) {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			programs := programOf(greeter)
			said, stderr, err := runScript(t, shell, programs, false, "HOME="+home)
			if err != nil {
				t.Fatalf("first run: %v; %s", err, stderr)
			}
			if len(said) == 0 || said[len(said)-1].Done != said[len(said)-1].Total || strings.Contains(said[0].Message, "cannot be used") {
				t.Errorf("the copying was told as %+v", said)
			}
			kept := filepath.Join(home, ".cache/keyway", "keyway-"+programs.hash(runtime.GOARCH))
			if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("kept: %v, %v", info, err)
			}
			if said, stderr, err = runScript(t, shell, programs, false, "HOME="+home); err != nil || len(said) > 0 {
				t.Errorf("second run: %v, copied again: %+v; %s", err, said, stderr)
			}
			left, _ := os.ReadDir(filepath.Dir(kept))
			if len(left) != 1 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestBootstrapMistrustsABrokenProgram(t *testing.T) {
	home := t.TempDir()
	programs := programOf(greeter)
	kept := filepath.Join(home, ".cache/keyway", "keyway-"+programs.hash(runtime.GOARCH))
	if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := runScript(t, []string{"sh"}, programs, false, "HOME="+home); !errors.Is(err, errCached) {
		t.Fatalf("got %v", err)
	}
	if _, stderr, err := runScript(t, []string{"sh"}, programs, true, "HOME="+home); err != nil {
		t.Fatalf("fresh: %v; %s", err, stderr)
	}
}

func TestBootstrapRefusesAnotherContent(t *testing.T) {
	home := t.TempDir()
	programs := programOf(greeter)
	p := programs[runtime.GOARCH]
	p.Open = programOf("#!/bin/sh\n# tampered with\n")[runtime.GOARCH].Open
	programs[runtime.GOARCH] = p
	if _, _, err := runScript(t, []string{"sh"}, programs, false, "HOME="+home); !keyway.Is(err, keyway.NoSpace) {
		t.Fatalf("got %v", err)
	}
	left, _ := os.ReadDir(filepath.Join(home, ".cache/keyway"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBootstrapFallsBackFromAHomeThatCannotBeWritten(t *testing.T) {
	run := t.TempDir()
	programs := programOf(greeter)
	// A file where the home directory should be: even root cannot write into it.
	home := filepath.Join(run, "home")
	if err := os.WriteFile(home, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	said, stderr, err := runScript(t, []string{"sh"}, programs, false, "HOME="+home, "XDG_RUNTIME_DIR="+run)
	if err != nil {
		t.Fatalf("%v; %s", err, stderr)
	}
	if len(said) == 0 || !strings.Contains(said[0].Message, run+"/keyway") {
		t.Errorf("it does not say where it went: %+v", said)
	}
}

// TestBootstrapGoesToTheLastDirectory checks a place where only /var/tmp can hold a program that may be run.
func TestBootstrapGoesToTheLastDirectory(t *testing.T) {
	bin := t.TempDir()
	const full = "#!/bin/sh\ncase $(pwd) in /var/tmp/*) ;; *) printf 'x\\n/dev/a 90000 88000 2000 98%% /\\n';; esac\n"
	if err := os.WriteFile(filepath.Join(bin, "df"), []byte(full), 0o700); err != nil {
		t.Fatal(err)
	}
	programs := programOf(greeter + "# for /var/tmp\n")
	dir := fmt.Sprintf("/var/tmp/keyway-%d", os.Getuid())
	program := filepath.Join(dir, "keyway-"+programs.hash(runtime.GOARCH))
	t.Cleanup(func() { os.Remove(program) })
	said, stderr, err := runScript(t, []string{"sh"}, programs, false, "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+t.TempDir(), "XDG_RUNTIME_DIR="+t.TempDir())
	if err != nil {
		t.Fatalf("%v; %s", err, stderr)
	}
	if len(said) == 0 || !strings.Contains(said[0].Message, dir) {
		t.Errorf("it does not say where it went: %+v", said)
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatal(err)
	}
	if said, stderr, err := runScript(t, []string{"sh"}, programs, false, "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+t.TempDir(), "XDG_RUNTIME_DIR="+t.TempDir()); err != nil || len(said) > 0 {
		t.Errorf("the second time: %+v, %v; %s", said, err, stderr)
	}
}

// TestBootstrapGoesWhereThereIsRoom checks a df that reports a full home directory, one with
// another form of output, and one without output.
func TestBootstrapGoesWhereThereIsRoom(t *testing.T) {
	const header = "Filesystem 1024-blocks Used Available Capacity Mounted on\n"
	for df, inHome := range map[string]bool{
		header + "/dev/a 90000 88000 2000 98% /home":         false,
		header + "/dev/a 90000 10 89990 1% /home":            true,
		header + "//host/a share 90000 88000 2000 98% /home": true, // a blank in a name: not understood
		"": true,
	} {
		others := shells(t)
		delete(others, "busybox") // a shell with a df of its own
		for name, shell := range others {
			home, run, bin := t.TempDir(), t.TempDir(), t.TempDir()
			script := "#!/bin/sh\ncase $(pwd) in " + home + "/*) printf '%s\\n' '" + df + "';; esac\n"
			if err := os.WriteFile(filepath.Join(bin, "df"), []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			programs := programOf(greeter)
			if _, stderr, err := runScript(t, shell, programs, false, "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+home, "XDG_RUNTIME_DIR="+run); err != nil {
				t.Fatalf("%s: %v; %s", name, err, stderr)
			}
			for dir, want := range map[string]bool{filepath.Join(home, ".cache"): inHome, run: !inHome} {
				if _, err := os.Stat(filepath.Join(dir, "keyway", "keyway-"+programs.hash(runtime.GOARCH))); (err == nil) != want {
					t.Errorf("%s, %q: in %s: %v", name, df, dir, err)
				}
			}
		}
	}
}

// greetedBy has a bootstrap read what a place prints, and returns its error.
func greetedBy(place keyway.Place, marker string, prints io.Reader, programs Programs) error {
	_, err := bootstrap{place, marker, programs, func(keyway.Progress) {}, func(string) {}}.greeted(bufio.NewReader(prints), io.Discard)
	return err
}

func TestBootstrapIgnoresNoiseButNotForEver(t *testing.T) {
	greet := func(noise string) error {
		return greetedBy("gpu1", "MARK", strings.NewReader(noise+"MARK run /x\n"+api.Greeting()), nil)
	}
	for _, noise := range []string{"", "Welcome to gpu1!\n\nYou have mail.\n", "\x1b]0;ada@gpu1\a", "\x1b[H\x1b[2J", "keyway-bootstrap run /x\n", strings.Repeat("x", maxNoise/2)} {
		if err := greet(noise); err != nil {
			t.Errorf("after %.30q: %v", noise, err)
		}
	}
	if err := greet(strings.Repeat("spam spam spam\n", maxNoise/10)); err == nil {
		t.Error("noise without end was accepted")
	}
}

func TestBootstrapSaysWhatIsWrong(t *testing.T) {
	for line, want := range map[string]keyway.Kind{
		"keyway-bootstrap unsupported Darwin arm64": keyway.EngineAbsent,
		"keyway-bootstrap unsupported Linux x86_64": keyway.VersionMismatch,
		"keyway-bootstrap nowhere":                  keyway.NoSpace,
		"keyway-bootstrap broken":                   keyway.NoSpace,
		"keyway-bootstrap closed 01":                keyway.Other,
		"keyway-bootstrap dance":                    keyway.VersionMismatch,
		"keyway-node 7 v9":                          keyway.VersionMismatch,
		"keyway-bootstrap need mips64 cache /x":     keyway.EngineAbsent,
	} {
		err := greetedBy("gpu1", scriptWord, strings.NewReader(line+"\n"), nil)
		if !keyway.Is(err, want) {
			t.Errorf("%s: got %v (%s), want %s", line, err, keyway.AsError(err).Kind, want)
		}
		here := greetedBy(keyway.Local, scriptWord, strings.NewReader(line+"\n"), nil)
		if help := keyway.AsError(here).Next; want == keyway.NoSpace && (strings.Contains(help, "ssh ") || !strings.Contains(help, ": df -h") || !strings.Contains(help, "; df -i")) {
			t.Errorf("%s, on this machine: %s", line, help)
		}
		if help := keyway.AsError(err).Next; want == keyway.NoSpace && (!strings.Contains(help, "ssh gpu1 'df -h") || !strings.HasSuffix(help, "'")) {
			t.Errorf("%s, at a place: %s", line, help)
		}
	}
}

func TestHighestCommonVersion(t *testing.T) {
	for _, c := range []struct {
		greeting string
		spoken   api.Versions
		want     int
	}{
		{"1 devel", api.Versions{Lowest: 1, Highest: 1}, 1}, // from before there were ranges
		{"1 devel", api.Versions{Lowest: 1, Highest: 3}, 1},
		{"1 devel", api.Versions{Lowest: 2, Highest: 3}, 0},
		{"1 devel <=4", api.Versions{Lowest: 1, Highest: 3}, 3},
		{"2 devel <=2", api.Versions{Lowest: 1, Highest: 3}, 2},
		{"4 devel <=5", api.Versions{Lowest: 1, Highest: 3}, 0},
		{"what devel", api.Versions{Lowest: 1, Highest: 3}, 0},
	} {
		got, err := agree("gpu1", c.greeting, c.spoken)
		if got != c.want || (err == nil) != (c.want > 0) || err != nil && (!keyway.Is(err, keyway.VersionMismatch) || keyway.AsError(err).Help() == "") {
			t.Errorf("%q for %v: %d, %v", c.greeting, c.spoken, got, err)
		}
	}
}

func TestScriptSurvivesEveryLoginShell(t *testing.T) {
	if i := strings.IndexAny(bootstrapScript, "'\\\n"); i >= 0 {
		t.Errorf("%q at %d would not survive single quotes everywhere", bootstrapScript[i], i)
	}
	if i := strings.IndexByte(bootstrapScript, '!'); i >= 0 {
		t.Errorf("'!' at %d is history to csh", i)
	}
}

func FuzzBootstrap(f *testing.F) {
	f.Add([]byte("keyway-bootstrap need x86_64 cache /root/.cache/keyway\nkeyway-bootstrap run /x\nkeyway-node 1 devel\n"))
	f.Add([]byte("keyway-bootstrap need\n"))
	f.Add(bytes.Repeat([]byte{'a'}, maxLine+1))
	programs := programOf(greeter)
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = greetedBy("gpu1", scriptWord, bytes.NewReader(data), programs)
	})
}
